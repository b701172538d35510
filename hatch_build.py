"""Refuses to build a wheel of Waybill: it would put packages called `cli` and `schemas` beside everybody else's.

Waybill is a program, not a library. It runs from its checkout: `make` and the image install that in editable mode,
which leaves a path and the `waybill` command. See docs/decisions/0020-no-wheel.md.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REFUSAL = (
    "Waybill is not published as a wheel: its packages `cli`, `schemas` and others would lie at the top of your "
    "site-packages. Run it from a checkout (`make run`, or `pip install --editable .`) or from its image "
    "(`docker build .`)."
)


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg] # the configuration is hatchling's affair
    """Lets the editable version of a wheel through, and no other."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling calls it so
        """Refuse what is not editable.

        Raises:
            RuntimeError: a wheel with the packages in it is asked for.

        """
        if version != "editable":
            raise RuntimeError(REFUSAL)
