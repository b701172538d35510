"""The `waybill` command as it might have been last month, with a decoder that is wrong in three ways.

It does not know a word, it takes the reason from the wrong field, and it cannot read some deliveries at all.
"""

import sys
from typing import Any, Final

from cli.main import main
from schemas.couriers import COURIERS
from schemas.couriers.dash import Dash, envelope
from schemas.records import UnreadableError
from schemas.vocabulary import DeadLetterReason

UNKNOWN_THEN: Final = "VERIFIED"
UNREADABLE_THEN: Final = "BROKEN"


def grow_older() -> None:
    """Change the decoder of this process."""
    del envelope.STATUSES[UNKNOWN_THEN]
    envelope.REASONS["FAILED"] = "note"
    read: Any = Dash.read

    def older(self: Dash, value: bytes, *rest: Any) -> Any:
        if UNREADABLE_THEN.encode() in value:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not understood yet")
        return read(self, value, *rest)

    monkeypatched: Any = Dash
    monkeypatched.read = older
    assert type(COURIERS["dash"]) is Dash


if __name__ == "__main__":
    grow_older()
    sys.exit(main(sys.argv[1:]))
