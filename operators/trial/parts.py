"""Which parts of a raw record its courier's reading takes, which it drops and why, which it never looks at. Pure.

Nothing is declared for it and nothing decided twice: a part is left out, or another value put in its place, and the
record is read again by the courier's own code. What changes of the reading is what the part gives.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from schemas.observation import PERSONAL, Observation
from schemas.records import UnreadableError
from schemas.tolerant_json import load

MAX_PARTS: Final = 200
"""Values of a record that are looked at one by one. Couriers' records have up to sixty; each costs some ten readings,
so a record with the most takes a second."""

MAX_PROBES: Final = 3
"""Values of the samples that are tried in the place of one that says nothing."""

Path = tuple[str | int, ...]
"""Where a value stands: the names and places on the way to it."""

Samples = Mapping[str, Sequence[Any]]
"""Values that the courier's samples have, by their paths without places: `data[].order_id`."""

Say = Callable[[bytes], Observation]
"""Reads a raw record's value. Raises UnreadableError."""


class Fate(StrEnum):
    """What becomes of a part."""

    TAKEN = "taken"
    DROPPED = "dropped"
    UNREAD = "unread"
    """Nothing of it, whatever it were, changes the reading."""


class Part(msgspec.Struct, frozen=True):
    """One value of a record. `gives`: what of the reading comes from it. `why` it is dropped.

    `needed`: why there would be a dead letter without it. `personal`: it may tell of persons. `in_samples`: a sample of
    the courier has a value there, if it has samples.
    """

    path: str
    fate: Fate
    value: Any
    gives: tuple[str, ...] = ()
    why: str | None = None
    needed: str | None = None
    personal: bool = False
    in_samples: bool = True


_NOT_SAID: Final = frozenset(
    ("shipment_id", "courier", "account", "received_at", "source", "item", "edition", "record_digest", "former_digest")
)
"""What a record's value alone does not decide, decides by another field, or only names the record by."""

_IDENTITY: Final = "reading_digest"
_REFUSED: Final = "refused"
"""Stands for all that a record says which cannot be read."""

_PROBES: Final[tuple[Any, ...]] = ("x", 1, "1", True, {"name": "x"}, ["x"])
_MISSING: Final = object()
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
_AS_WITHOUT: Final[tuple[Any, ...]] = (0, "0", False)
_DISBELIEVED: Final = "read, but not believed: a time more than a day after it was received"


def parts_of(value: bytes, say: Say, samples: Samples, received_at: str) -> tuple[Part, ...] | None:
    """Return the parts of a record, in its order. `received_at`: a time that is believed, as a text.

    Of a record that cannot be read, none is taken; those are dropped in whose places another value would tell more.

    None: they cannot be told apart, because there are too many, or the record is not the same when written anew.
    """
    try:
        body = load(value)
        leaves = list(_leaves(body))
        trial = _Trial(body, say, received_at)
    except (UnreadableError, RecursionError, ValueError):
        return None
    if len(leaves) > MAX_PARTS or trial.whole != trial.said(value):
        return None
    return tuple(_refused(trial, leaves, samples) if _REFUSED in trial.whole else _judged(trial, leaves, samples))


def paths_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Give the paths of a sample's values without places, each with its value, containers too."""
    yield from _generic(value, "")


class _Trial:
    """Readings of one record with something left out or put in. Each is made once."""

    def __init__(self, body: Any, say: Say, received_at: str) -> None:
        self._text = json.dumps(body, allow_nan=False)
        self._say = say
        self._made: dict[frozenset[Path], Mapping[str, Any]] = {}
        self.probes = (received_at, *_PROBES)
        self.whole = self.without()

    def without(self, *paths: Path) -> Mapping[str, Any]:
        """Return what the record says without these parts."""
        key = frozenset(paths)
        if key not in self._made:
            body = json.loads(self._text)
            for path in sorted(paths, key=_last_place, reverse=True):
                _put(body, path, _MISSING)
            self._made[key] = self._read(body)
        return self._made[key]

    def having(self, values: Mapping[Path, Any]) -> Mapping[str, Any]:
        """Return what the record says with these values in the places of parts."""
        body = json.loads(self._text)
        for path, value in values.items():
            _put(body, path, value)
        return self._read(body)

    def changes(self, values: Mapping[Path, Any]) -> bool:
        """Whether these values in the places of parts make the record say something else, not another refusal."""
        other = self.having(values)
        return other != self.whole and not (_REFUSED in self.whole and _REFUSED in other)

    def _read(self, body: Any) -> Mapping[str, Any]:
        return self.said(json.dumps(body).encode())

    def said(self, value: bytes) -> Mapping[str, Any]:
        """Return what a record's value says, part by part; why it says nothing where it cannot be read."""
        try:
            return _said(self._say(value))
        except UnreadableError as error:
            return {_REFUSED: f"{error.reason}, {error.detail}"}


def _refused(trial: _Trial, leaves: Sequence[tuple[Path, Any]], samples: Samples) -> Iterator[Part]:
    """Judge the parts of a record that cannot be read."""
    probes = {path: _probes(trial, path, samples) for path, _ in leaves}
    looked_at = _looked_at(trial, probes)
    for path, value in leaves:
        why = _odd(trial, path, value, probes[path]) if path in looked_at else None
        fate = Fate.DROPPED if why else Fate.UNREAD
        yield Part(_spelled(path), fate, value, why=why, personal=True, in_samples=_is_sampled(path, samples))


def _judged(trial: _Trial, leaves: Sequence[tuple[Path, Any]], samples: Samples) -> Iterator[Part]:
    """Judge the parts: those that give something first, since others may stand behind them."""
    gives = {path: _changed(trial.whole, trial.without(path)) for path, _ in leaves}
    why = {path: _DISBELIEVED for path, given in gives.items() if given == (_IDENTITY,)}
    shown = {*why}
    silent = {path: value for path, value in leaves if not gives[path]}
    for path, twin in list(_twins(trial, silent)):
        why[path] = f"says the same as {_spelled(twin)}"
        gives[twin] = _changed(trial.whole, trial.without(path, twin))
        shown |= set() if _tells_of_persons(gives[twin]) else {path}
        del silent[twin]
    taken = [path for path, given in gives.items() if given and path not in why]
    why |= _behind(trial, [path for path, value in silent.items() if value not in _NOTHING], taken) | why
    probes = {path: _probes(trial, path, samples) for path in silent if path not in why}
    why |= {path: _odd(trial, path, silent[path], probes[path]) for path in _looked_at(trial, probes)}
    for path, value in leaves:
        known = _is_sampled(path, samples)
        if path in why:
            hidden = path not in shown
            yield Part(_spelled(path), Fate.DROPPED, value, why=why[path], personal=hidden, in_samples=known)
        elif gives[path]:
            needed = trial.without(path).get(_REFUSED)
            given = gives[path] if needed is None else _given(trial, path, samples)
            personal = _tells_of_persons(given)
            yield Part(_spelled(path), Fate.TAKEN, value, given, needed=needed, personal=personal, in_samples=known)
        else:
            yield Part(_spelled(path), Fate.UNREAD, value, personal=True, in_samples=known)


def _tells_of_persons(gives: Sequence[str]) -> bool:
    return any(name.partition(".")[0] in PERSONAL for name in gives)


def _twins(trial: _Trial, silent: Mapping[Path, Any]) -> Iterator[tuple[Path, Path]]:
    """Give each part that says the same as one before it, with that one: either can be left out, not both."""
    first: list[tuple[Path, Any]] = []
    for path, value in silent.items():
        if value in _NOTHING:
            continue
        same = (other for other, said in first if said == value and trial.without(path, other) != trial.whole)
        if (twin := next(same, None)) is None:
            first.append((path, value))
        else:
            first = [each for each in first if each[0] != twin]
            yield path, twin


def _behind(trial: _Trial, paths: Sequence[Path], taken: Sequence[Path]) -> dict[Path, str]:
    """Say of parts which one is taken in the place of each that could have been."""
    found: dict[Path, str] = {}
    for other in taken:

        def differs(some: Sequence[Path], other: Path = other) -> bool:
            return trial.without(other, *some) != trial.without(other)

        for path in _singled([path for path in paths if path not in found], differs):
            found[path] = f"gives way to {_spelled(other)}"
    return found


def _looked_at(trial: _Trial, probes: Mapping[Path, Sequence[Any]]) -> set[Path]:
    """Return the parts in whose places one of their probes changes what the record says."""
    found: set[Path] = set()
    for place in range(max(map(len, probes.values()), default=0)):
        tried = {path: each[place] for path, each in probes.items() if path not in found and place < len(each)}

        def differs(some: Sequence[Path], tried: Mapping[Path, Any] = tried) -> bool:
            return trial.changes({path: tried[path] for path in some})

        found |= {*_singled([*tried], differs)}
    return found


def _singled(paths: Sequence[Path], differs: Callable[[Sequence[Path]], bool]) -> Sequence[Path]:
    """Return those of the paths that make a difference by themselves, halving as long as several make one together."""
    if not paths or not differs(paths):
        return ()
    if len(paths) == 1:
        return paths
    half = len(paths) // 2
    return (*_singled(paths[:half], differs), *_singled(paths[half:], differs))


def _odd(trial: _Trial, path: Path, value: Any, probes: Sequence[Any]) -> str:
    """Say why a part gives nothing in whose place another value would."""
    if value is None:
        return "null says nothing"
    if value in _NOTHING:
        return "empty, and says nothing"
    kinds = [_kind(each) for each in probes if each != value and trial.changes({path: each})]
    if value in _AS_WITHOUT:
        return "says what holds without it"
    if _kind(value) in kinds:
        return f"{_kind(value)} that changes nothing: not of the form that counts, or it says what holds without it"
    return f"{_kind(value)}, where {' or '.join(dict.fromkeys(kinds))} is read"


def _given(trial: _Trial, path: Path, samples: Samples) -> tuple[str, ...]:
    """Return what a part gives without which nothing is read: what another value in its place would change."""
    for probe in _probes(trial, path, samples):
        other = trial.having({path: probe})
        if other != trial.whole and _REFUSED not in other:
            return _changed(trial.whole, other)
    return ()


def _probes(trial: _Trial, path: Path, samples: Samples) -> tuple[Any, ...]:
    return (*samples.get(_spelled(path, places=False), ()), *trial.probes)


def _is_sampled(path: Path, samples: Samples) -> bool:
    return not samples or _spelled(path, places=False) in samples


def _said(observation: Observation) -> dict[str, Any]:
    """Return what a reading says, part by part."""
    said: dict[str, Any] = {}
    for name, value in msgspec.to_builtins(observation).items():
        if name not in _NOT_SAID:
            _flatten(said, "" if name == "details" else name, value)
    return said


def _flatten(said: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, dict):
        for below, each in value.items():
            _flatten(said, f"{name}.{below}" if name else below, each)
    else:
        said[name] = value


def _changed(whole: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what differs. The identity differs with everything, and is named where nothing else does."""
    names = dict.fromkeys((*whole, *other))
    found = tuple(name for name in names if whole.get(name) != other.get(name))
    return found if found == (_IDENTITY,) else tuple(name for name in found if name != _IDENTITY)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give the values that have none below them."""
    if isinstance(value, dict | list) and value:
        for name, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(below, (*path, name))
    elif path:
        yield path, value


def _generic(value: Any, spelled: str) -> Iterator[tuple[str, Any]]:
    if spelled:
        yield spelled, value
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _generic(below, _joined(spelled, name))
    elif isinstance(value, list):
        for below in value:
            yield from _generic(below, f"{spelled}[]")


def _put(body: Any, path: Path, value: Any) -> None:
    for name in path[:-1]:
        body = body[name]
    if value is _MISSING:
        del body[path[-1]]
    else:
        body[path[-1]] = value


def _last_place(path: Path) -> tuple[int, int]:
    """Order paths so that of two places in one list the later is taken out first."""
    return len(path), path[-1] if isinstance(path[-1], int) else 0


def _spelled(path: Path, *, places: bool = True) -> str:
    spelled = ""
    for name in path:
        spelled = _joined(spelled, name) if isinstance(name, str) else f"{spelled}[{name if places else ''}]"
    return spelled


def _joined(spelled: str, name: str) -> str:
    if not name.isidentifier():
        return f"{spelled}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{spelled}.{name}" if spelled else name


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case dict():
            return "an object"
        case _:
            return "a list"
