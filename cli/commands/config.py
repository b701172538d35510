"""`waybill config`."""

from collections.abc import Mapping

from cli.terminal.output import complain, say, say_json
from runtime.settings import load_settings, settings_in_force, unknown_settings


def config(environ: Mapping[str, str], *, json: bool) -> int:
    """Show the settings in force, secrets masked.

    Raises:
        SettingsError: with a line for each wrong value.

    """
    load_settings(environ)
    for name in unknown_settings(environ):
        complain(f"{name} is no setting of this version")
    settings = settings_in_force(environ)
    if json:
        say_json({setting.name: setting.value for setting in settings})
        return 0
    for setting in settings:
        say(f"# {setting.meaning} ({setting.origin})")
        say(f"{setting.name}={setting.value}")
    return 0
