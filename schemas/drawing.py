"""Draws the transition tables and the couriers' words as `docs/state-machines.md`. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from schemas.couriers import COURIERS, Courier
from schemas.lifecycle import NO_THROUGH_ROAD, SCANS, WAY_BACK, Lifecycle
from schemas.vocabulary import PHASES, Status

_HEAD: Final = """\
# State machines

Generated from the couriers' transition and word tables (`schemas/couriers/`) by `make schemas`; a test fails when this
page and the tables differ. Do not edit it by hand.

What an arrow means: the status at its end may follow at once. Four rules hold beside the arrows:

- **The first observation is always accepted**, whatever it says. `[*]` only marks where a life normally begins.
- **The same status again is legal**: a scan, a new driver, another reason.
- **A forward jump is legal**, because webhooks get lost: whatever can be reached along the arrows may come next, and
  the statuses jumped over are the event's `skipped`. {cancelled} is reached by an arrow of its own only. No jump
  passes through {closed}, unless the courier's word itself says so (a claim settled for what was LOST or DAMAGED).
- **A final status is left by an arrow of its own only**, and that is `reopened`: no jump begins at one or passes
  through one, but for a final FAILED on the way to {way_back}, since its webhook may be lost.

Whatever else arrives is refused: the status stays and an anomaly `illegal_transition` is published.
"""

_UNDER_WAY: Final = frozenset({Status.PENDING_PICKUP, Status.PENDING_DELIVERY, Status.IN_DELIVERY, Status.IN_TRANSIT})
_SETBACKS: Final = frozenset({Status.FAILED, Status.LOST})


def state_machines(couriers: Mapping[str, Courier] = COURIERS) -> str:
    """Write the page: a diagram for each service, a table of words for each courier."""
    closed = [status for status in Status if status in NO_THROUGH_ROAD]
    way_back = ", ".join(status for status in Status if status in WAY_BACK)
    parts = [_HEAD.format(cancelled=Status.CANCELLED, closed=", ".join(closed), way_back=way_back)]
    for name, courier in sorted(couriers.items()):
        parts.append(f"## {name}\n")
        parts.extend("\n".join(_section(lifecycle)) for lifecycle in courier.lifecycles.values())
        parts.extend("\n".join(_words(field, words)) for field, words in courier.words.items())
    return "\n".join(parts)


def edge_label(lifecycle: Lifecycle, start: Status, end: Status) -> str | None:
    """Name what an arrow does, where it does more than lead forward."""
    if lifecycle.is_final(start):
        return "reopened"
    if end in _UNDER_WAY and start in _SETBACKS:
        return "recovery"
    if (start, end) in lifecycle.reassignments:
        return "reassignment"
    return "return" if end is Status.RETURNING else None


def _section(lifecycle: Lifecycle) -> Iterator[str]:
    yield f"### {lifecycle.courier} {lifecycle.service}\n"
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {next(iter(lifecycle.edges))}"
    for start, ends in lifecycle.edges.items():
        for end in ends:
            label = edge_label(lifecycle, start, end)
            yield f"    {start} --> {end}{f': {label}' if label else ''}"
    finals = [status for status in Status if status in lifecycle.statuses and lifecycle.is_final(status)]
    for status in finals:
        yield f"    {status} --> [*]"
    yield "```\n"
    yield f"Final: {', '.join(finals)}."
    yield from _remarks(lifecycle)
    yield ""


def _remarks(lifecycle: Lifecycle) -> Iterator[str]:
    if lifecycle.count_moves:
        yield (
            "A failure count above the one known is a move through FAILED, even where the word stays; "
            "where no arrows lead through FAILED, the same word is a repeat and any other is refused."
        )
    if lifecycle.scans_while_returning:
        scans = ", ".join(status for status in Status if status in SCANS)
        yield f"While RETURNING, {scans} are scans of the way back: the status stays."
    if lifecycle.counts_entries:
        yield "`failed_count` is how often FAILED was entered or jumped over; the courier sends no count."


def _words(field: str, words: Mapping[str, Status | None]) -> Iterator[str]:
    yield f"| `{field}` | status | phase |"
    yield "|---|---|---|"
    for word, status in words.items():
        yield f"| {word} | {status or '(details only)'} | {PHASES[status] if status else ''} |"
    yield ""
