"""Whether offsets join up: between two records of the raw topic nothing may be passed over unexplained. Pure."""

from collections.abc import Iterable, Sequence

import msgspec


class Stretch(msgspec.Struct, frozen=True, order=True):
    """The offsets from `start` up to, not including, `end`."""

    start: int
    end: int


def holes(position: int, offsets: Sequence[int]) -> list[Stretch]:
    """Return the stretches without a record between a position and the records read there. Offsets ascend."""
    if not offsets or offsets[-1] == position + len(offsets) - 1:
        return []
    found = []
    for offset in offsets:
        if offset > position:
            found.append(Stretch(position, offset))
        position = offset + 1
    return found


def without(missing: Iterable[Stretch], explained: Iterable[Stretch]) -> list[Stretch]:
    """Return what is left of missing stretches when the explained ones are taken away."""
    left, known = [], sorted(explained)
    for stretch in missing:
        at = stretch.start
        for each in known:
            if each.start >= stretch.end:
                break
            if each.start > at:
                left.append(Stretch(at, each.start))
            at = max(at, each.end)
        if at < stretch.end:
            left.append(Stretch(at, stretch.end))
    return left


def joined(offsets: Iterable[int]) -> list[Stretch]:
    """Return ascending offsets as stretches, as few as can be."""
    found: list[Stretch] = []
    for offset in offsets:
        if found and found[-1].end == offset:
            found[-1] = Stretch(found[-1].start, offset + 1)
        else:
            found.append(Stretch(offset, offset + 1))
    return found
