"""What is known of the records that others read again, their roots. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from processor.core.reading import Read, Reading
from schemas.stored_observation import pack_observation


class RootShipment(msgspec.Struct, frozen=True, gc=False):
    """A shipment that a root was found to be about. `refused`: another had been found before, so it was an anomaly.

    `said` is what the root said, in its stored form, if it is kept and its shipment shows what its observations come to
    by today's rules, with all that they said.
    """

    shipment_id: str
    refused: bool = False
    said: bytes | None = None


Roots = Mapping[tuple[int, int], Sequence[RootShipment]]
"""What roots were found to be about, by partition and offset."""


def recognised(readings: Sequence[Reading], roots: Roots) -> Sequence[Reading]:
    """Return readings in which those that say just what their roots said are marked as known.

    Whatever else comes to their shipments, nothing comes of them. So their shipments need not be looked at.
    """
    if not roots:
        return readings
    return [msgspec.structs.replace(each, known=True) if _says_the_same(each, roots) else each for each in readings]


def _says_the_same(reading: Reading, roots: Roots) -> bool:
    if not isinstance(reading, Read) or reading.root is None or reading.observation.decision is not None:
        return False
    about = roots.get(reading.root, ())
    return (
        len(about) == 1
        and about[0].said is not None
        and about[0].shipment_id == reading.observation.shipment_id
        and about[0].said == pack_observation(reading.observation)
    )
