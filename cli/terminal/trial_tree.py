"""A trial of bodies as trees: each webhook with its records, each shipment with its fold."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

import msgspec
from rich.text import Text
from rich.tree import Tree

from cli.terminal.tables import NOTHING
from operators.trial.parts import Fate, Part
from operators.trial.report import Placed, Published, Said, Trial, TriedRecord, TriedShipment, TriedWebhook
from runtime.printable import printable
from schemas.topics import Topic

LONGEST: Final = 80
"""Characters of a value that are shown: a line's worth. `--json` has all."""

_STYLES: Final = {"event": "green", "dead_letter": "red", "anomaly": "yellow"}


def trees(trial: Trial) -> Iterator[Tree]:
    """Give a tree for each webhook, and one for each shipment."""
    for number, webhook in enumerate(trial.webhooks, start=1):
        yield _webhook(number, webhook)
    for shipment in trial.shipments:
        yield _shipment(shipment)


def _webhook(number: int, webhook: TriedWebhook) -> Tree:
    what = "answer" if webhook.answer is None else "webhook"
    tree = Tree(_line(f"{what} {number}", webhook.file, f"{webhook.bytes} bytes, received {webhook.received_at}"))
    if webhook.refused:
        says = f"the door answers {webhook.answer}: " if webhook.answer else ""
        tree.add(Text(printable(f"{says}{webhook.refused}"), "red"))
        return tree
    if webhook.unappended:
        tree.add(Text(f"{webhook.unappended} of its entries are known already, and are not appended", "dim"))
    for record in webhook.records:
        _record(tree.add(_line(f"record {record.name}", record.key, _where(record))), record)
    return tree


def _where(record: TriedRecord) -> str:
    begins = f", from byte {record.at.byte}" if record.at else ""
    return f"item {record.item}, {record.bytes} bytes{begins}, partition {record.partition}"


def _record(branch: Tree, record: TriedRecord) -> None:
    if letter := record.dead_letter:
        at = f" · byte {letter.at.byte} (line {letter.at.line}, column {letter.at.column})" if letter.at else ""
        if record.parts:
            _parts(branch, record.parts, unread="whatever stood there, it could not be read")
        branch.add(_outcome(record.outcome, f"dead letter {letter.reason}: {letter.detail}{at}"))
        return
    if record.said:
        _said(branch, record.said)
    _parts(branch, record.parts)
    published = [f"{_published(each)}" for each in record.published]
    branch.add(_outcome(record.outcome, " · ".join(filter(None, (record.outcome, record.why)))))
    for each in published:
        branch.add(_outcome(record.outcome, each))


def _said(branch: Tree, said: Said) -> None:
    meant = said.status or ("details only" if said.known else "an unknown word")
    told = [f"says {said.courier_status} → {meant}"]
    told += [f"{name} {value}" for name, value in said.times.items()]
    told += [f"proves {', '.join(said.proves)}"] if said.proves else []
    told += [f"speaks for {', '.join(said.hints)}"] if said.hints else []
    told += [f"failures {said.count}"] if said.count else []
    branch.add(Text(printable(" · ".join(told)), "bold" if said.known else "bold yellow"))


def _parts(branch: Tree, parts: tuple[Part, ...] | None, unread: str = "not looked at") -> None:
    if parts is None:
        branch.add(Text("its parts are not told", "dim"))
        return
    taken, dropped, others = ([part for part in parts if part.fate is fate] for fate in Fate)
    if taken:
        _rows(branch.add(Text("taken")), ((part, _gives(part)) for part in taken))
    if dropped:
        _rows(branch.add(Text("dropped")), ((part, part.why or "") for part in dropped))
    if known := [part for part in others if part.in_samples]:
        branch.add(Text(printable(f"{unread}: {_listed(known)}"), "dim"))
    if new := [part for part in others if not part.in_samples]:
        branch.add(Text(printable(f"{unread}, and in no sample: {_listed(new)}"), "yellow"))


def _gives(part: Part) -> str:
    needed = f" (without it: {part.needed})" if part.needed else ""
    return f"→ {', '.join(part.gives) or 'nothing more'}{needed}"


def _rows(branch: Tree, rows: Iterable[tuple[Part, str]]) -> None:
    told = [(printable(part.path), printable(_shown(part.value)), text) for part, text in rows]
    path, value = (max(len(row[place]) for row in told) for place in (0, 1))
    for row in told:
        branch.add(Text(f"{row[0]:{path}}  {row[1]:{min(value, LONGEST // 2)}}  {printable(row[2])}"))


def _listed(parts: Iterable[Part]) -> str:
    """List parts, those of one object together: `sender.{name, phone}`."""
    listed = []
    for above, group in groupby((part.path for part in parts), lambda path: path.rpartition(".")[0]):
        names = [path.rpartition(".")[2] for path in group]
        many = f"{{{', '.join(names)}}}" if len(names) > 1 else names[0]
        listed.append(f"{above}.{many}" if above else ", ".join(names))
    return ", ".join(listed)


def _published(one: Published) -> str:
    value = one.value
    if one.topic != Topic.EVENTS:
        at = value["status"] or "no shipment"
        return f"{one.topic}  {value['kind']}: {value['courier_status']} at {at}"
    before, status = value["previous_status"], value["status"]
    told = [value["id"], value["type"], status if before in {None, status} else f"{before} → {status}"]
    told += [value["transition"]] if value["transition"] else []
    told += [f"over {', '.join(value['skipped'])}"] if value["skipped"] else []
    told += [f"settles {', '.join(value['resolves'])}"] if value["resolves"] else []
    return f"{one.topic}  {' · '.join(told)}"


def _shipment(shipment: TriedShipment) -> Tree:
    proof = "proven" if shipment.proven else "hinted at" if shipment.hinted else "by default"
    many = f"both proven: {', '.join(shipment.proven)}" if len(shipment.proven) > 1 else proof
    tree = Tree(_line("shipment", shipment.shipment_id, f"{shipment.service} ({many})"))
    fold = tree.add(Text("fold, in the order of positions" if shipment.fold else "nothing takes part in a fold"))
    for placed in shipment.fold:
        told = f"{placed.record}  {placed.courier_status} → {placed.status or 'details only'} · {_verdict(placed)}"
        where = f" · {placed.occurred_at} ({placed.occurred_at_source}) · position {_position(placed.position)}"
        style = "yellow" if placed.accepted is False else ""
        fold.add(Text(printable(told), style).append(printable(where), "dim"))
    if shipment.state is None:
        tree.add(Text("no row: no word with a status has told of it", "dim"))
        return tree
    state = tree.add(Text(printable(f"row: {shipment.state['status']}, version {shipment.state['version']}"), "bold"))
    for name, value in shipment.state.items():
        given = {each: below for each, below in value.items() if below} if isinstance(value, dict) else value
        if name not in _TOLD_ALREADY and given not in (None, {}):
            state.add(Text(printable(f"{name:18}  {given if isinstance(given, str) else _shown(given)}")))
    return tree


_TOLD_ALREADY: Final = frozenset({"shipment_id", "version", "status", "raw", "recorded_at", "received_at", "courier"})


def _verdict(placed: Placed) -> str:
    if placed.accepted is None:
        return "before all others"
    if not placed.accepted:
        return f"refused: it may not follow {placed.before}"
    if placed.before is None:
        return "the first"
    if not placed.moved:
        return f"stays {placed.before}"
    over = f" over {', '.join(placed.passed)}" if placed.passed else ""
    return f"from {placed.before}{over}"


def _position(position: tuple[Any, ...]) -> str:
    """Write a position without what only tells that its word has a status."""
    return _shown(position[1:])


def _line(what: str, name: str, more: str) -> Text:
    return Text(f"{what}  ", "bold").append(printable(name), "cyan").append(f"  {printable(more)}", "dim")


def _outcome(outcome: str, text: str) -> Text:
    return Text(printable(text), _STYLES.get(outcome, ""))


def _shown(value: Any) -> str:
    if value is None:
        return NOTHING
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
