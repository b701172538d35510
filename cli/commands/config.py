"""`waybill config`."""

import argparse
import os

from cli.exit_codes import DONE
from cli.terminal.arguments import offer_json
from cli.terminal.output import complain, say, say_json
from runtime.settings import load_settings, settings_in_force, unknown_settings


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    offer_json(parser)
    parser.set_defaults(command=_config)


def _config(arguments: argparse.Namespace) -> int:
    """Show the settings in force, secrets masked.

    Raises:
        SettingsError: with a line for each wrong value.

    """
    load_settings(os.environ)
    for name in unknown_settings(os.environ):
        complain(f"{name} is not a setting of this version")
    settings = settings_in_force(os.environ)
    if arguments.json:
        say_json({setting.name: setting.value for setting in settings})
        return DONE
    for setting in settings:
        say(f"# {setting.meaning} ({setting.origin})")
        say(f"{setting.name}={setting.value}")
    return DONE
