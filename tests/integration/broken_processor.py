"""The real processor with a broken decoder: Dash bodies of one status cannot be read."""

import sys

from cli.main import main as waybill
from schemas import couriers
from schemas.couriers.dash import Dash
from schemas.records import UnreadableError
from schemas.vocabulary import DeadLetterReason


class BrokenDash(Dash):
    """Cannot read the bodies of one status."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word

    def read(self, value, provenance, assumed_zone):  # type: ignore[no-untyped-def]
        observation = super().read(value, provenance, assumed_zone)
        if observation.word == self._word:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the decoder is broken")
        return observation


def main() -> int:
    couriers.COURIERS["dash"] = BrokenDash(sys.argv[1])
    return waybill(["processor"])


if __name__ == "__main__":
    sys.exit(main())
