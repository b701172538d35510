"""The committed files that are made from the code are what the code makes."""

import pytest

from tests.generated import ROOT, generated
from tests.unit.schemas.examples import examples, newest

FILES = generated()


@pytest.mark.parametrize("path", FILES)
def test_committed_file_is_what_the_code_makes(path: str) -> None:
    assert (ROOT / path).exists(), "run `make schemas`"
    assert (ROOT / path).read_bytes() == FILES[path], "run `make schemas`"


def test_every_example_that_the_code_makes_is_committed_and_no_other_is() -> None:
    assert {name: text for name, (_, text) in newest().items()} == examples(), "run `make schemas`"
