"""Whether offsets join up: between two records of the raw topic nothing may be passed over unexplained. Pure."""

from collections.abc import Iterable, Sequence

import msgspec


class Span(msgspec.Struct, frozen=True, order=True):
    """The offsets from `start` up to, not including, `end`."""

    start: int
    end: int


def holes(position: int, offsets: Sequence[int]) -> list[Span]:
    """Return the stretches without a record between a position and the records read there. Offsets ascend."""
    if not offsets or offsets[-1] == position + len(offsets) - 1:
        return []
    found = []
    for offset in offsets:
        if offset > position:
            found.append(Span(position, offset))
        position = offset + 1
    return found


def without(missing: Iterable[Span], explained: Iterable[Span]) -> list[Span]:
    """Return what is left of missing stretches when the explained ones are taken away."""
    left, known = [], sorted(explained)
    for stretch in missing:
        at = stretch.start
        for each in known:
            if each.start >= stretch.end:
                break
            if each.start > at:
                left.append(Span(at, each.start))
            at = max(at, each.end)
        if at < stretch.end:
            left.append(Span(at, stretch.end))
    return left


def joined(offsets: Iterable[int]) -> list[Span]:
    """Return ascending offsets as stretches, as few as can be."""
    found: list[Span] = []
    for offset in offsets:
        if found and found[-1].end == offset:
            found[-1] = Span(found[-1].start, offset + 1)
        else:
            found.append(Span(offset, offset + 1))
    return found
