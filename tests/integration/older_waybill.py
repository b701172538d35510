"""The `waybill` command as it might have been last month, with a decoder that is wrong in three ways.

It does not know a word, it takes the reason from the wrong field, and it cannot read some deliveries at all.
"""

import sys
from typing import Any, Final

import msgspec

from cli.main import main
from schemas.couriers import COURIERS
from schemas.couriers.dash import Dash, envelope
from schemas.couriers.reading import text
from schemas.records import UnreadableError
from schemas.tolerant_json import load
from schemas.vocabulary import DeadLetterReason

UNKNOWN_THEN: Final = "VERIFIED"
UNREADABLE_THEN: Final = "BROKEN"


def grow_older() -> None:
    """Change the decoder of this process."""
    del envelope.STATUSES[UNKNOWN_THEN]
    read: Any = Dash.read
    read_any: Any = envelope.whatever_it_is

    def older(self: Dash, value: bytes, *rest: Any) -> Any:
        if UNREADABLE_THEN.encode() in value:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not understood yet")
        return read(self, value, *rest)

    def wrong_reason(value: bytes) -> Any:
        return msgspec.structs.replace(read_any(value), failedReason=text(load(value).get("note")))

    courier: Any = Dash
    courier.read = older
    reader: Any = envelope
    reader.as_documented = lambda _value: None
    reader.whatever_it_is = wrong_reason
    assert type(COURIERS["dash"]) is Dash


if __name__ == "__main__":
    grow_older()
    sys.exit(main(sys.argv[1:]))
