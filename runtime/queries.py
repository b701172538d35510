"""Named SQL statements, read from a file beside the code that uses them."""

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(package: str, name: str = "queries.sql") -> dict[str, str]:
    """Return the statements of a package's SQL file, each of which stands under a line `-- name: <name>`."""
    _, *parts = _NAME.split(files(package).joinpath(name).read_text())
    names, texts = parts[::2], parts[1::2]
    assert len(set(names)) == len(names), "two statements have one name"
    return dict(zip(names, (text.strip() for text in texts), strict=True))
