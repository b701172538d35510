"""A test's child has the settings that the test gives it, and nobody else's."""

import os
import re
from pathlib import Path
from typing import Final
from unittest.mock import patch

from tests.children import environ_with

TESTS: Final = Path(__file__).parents[1]
ALONE: Final = ("docker/", "conftest.py", "children.py", "integration/secured.py", "unit/")
"""Where nothing runs beside it."""


def test_a_child_does_not_see_what_a_command_beside_it_was_given() -> None:
    with patch.dict(os.environ, {"WAYBILL_PROCESSOR_GROUP_ID": "another"}):
        environ = environ_with({"WAYBILL_TOPIC_PREFIX": "mine."})
    assert "WAYBILL_PROCESSOR_GROUP_ID" not in environ
    assert environ["WAYBILL_TOPIC_PREFIX"] == "mine."
    assert environ["PATH"] == os.environ["PATH"]


def test_no_child_inherits_the_environment_of_the_moment() -> None:
    inheriting = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        if re.search(r"\*\*\s*os\.environ", path.read_text(encoding="utf-8"))
    }
    assert {name for name in inheriting if not name.startswith(ALONE)} == set()
