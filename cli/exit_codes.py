"""What a command's exit code says."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
"""Wrong usage, or wrong settings: nothing was done."""
