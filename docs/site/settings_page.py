"""The page of all settings, written from their declarations: `docs/settings.md`."""

from typing import Final

from runtime.settings import PREFIX, Setting, declared

FILE: Final = "docs/settings.md"

HEAD: Final = """# Settings

Every setting is an environment variable. `NAME_FILE` reads the value from a file instead, a list one entry per line:
that is how a secret gets to a process. `waybill config` shows what is in force and where it comes from, secrets masked,
and names what looks like a setting and is none. A wrong value ends a process before it does anything, with a line for
each. Written by `make schemas` from `runtime/settings.py` and the couriers' folders.

A duration is a number with `ms`, `s`, `m`, `h` or `d`. A list's entries stand between commas. *Secret*: never shown, in
no log.

| setting | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(_row(name, setting) for name, setting in declared().items())


def _row(name: str, setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default else "none"
    kinds = [kind for kind, holds in (("List.", setting.many), ("*Secret.*", setting.mask is not None)) if holds]
    meaning = " ".join([f"{setting.meaning[0].upper()}{setting.meaning[1:]}.", *kinds])
    return f"| `{PREFIX}{name}` | {default} | {meaning.replace('|', chr(92) + '|')} |\n"
