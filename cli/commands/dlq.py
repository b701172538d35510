"""`waybill dlq`: what came to nothing, and another try for it."""

import argparse
from contextlib import aclosing
from functools import partial
from itertools import groupby

import msgspec

from cli.exit_codes import DONE, FAILED
from cli.operating import change, operate
from cli.terminal.arguments import LISTED, moment, most_listed, offer_json, offer_personal, positive
from cli.terminal.consent import offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from cli.terminal.tables import say_table
from operators.dead_letters.letters import Letter, LetterSelection, LetterState
from operators.dead_letters.redrive import LOCK, Chosen, Prediction, Redrive, Redriven, choose, predict
from operators.dead_letters.shown import shown, today
from operators.dead_letters.stored_letters import bodies, drop, find, letters
from operators.shared.errors import OperatorError
from operators.shared.locking import alone
from operators.shared.operator_log import note, operator_name
from operators.shared.rereading import reread
from runtime.appending import open_appender
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.vocabulary import DeadLetterReason

HIDDEN_BODY = "not shown, it may hold personal data: --show-personal"

_REASONS = tuple(str(reason) for reason in DeadLetterReason)


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    listed = verbs.add_parser("list", help="those that are open, or redriven and not applied yet; newest first")
    _offer_filters(listed, usual=f" (default: {LISTED}; with --json all)")
    listed.add_argument("--all", action="store_true", help="also those that are mended or dropped")
    offer_json(listed)
    listed.set_defaults(command=partial(operate, _list))

    show = verbs.add_parser("show", help="one of them, and what today's code reads in it")
    show.add_argument("letter", metavar="P:O", help="partition and offset of its raw record")
    offer_personal(show)
    offer_json(show)
    show.set_defaults(command=partial(operate, _show))

    redrive = verbs.add_parser("redrive", help="append the records again, with the key computed anew")
    _offer_letters(redrive)
    redrive.add_argument(
        "--max-failure-ratio",
        type=_ratio,
        default=0.5,
        metavar="SHARE",
        help="stop when more than this share comes back (0.5); 1: never",
    )
    redrive.set_defaults(command=partial(change, _redrive))

    drop = verbs.add_parser("drop", help="mark them as needing nothing any more")
    _offer_letters(drop, words="; any other text says why they are dropped")
    drop.set_defaults(command=partial(change, _drop))


def _offer_letters(parser: argparse.ArgumentParser, words: str = "") -> None:
    parser.add_argument(
        "letters", metavar="P:O", nargs="*", help="partition and offset of a raw record; none: all open"
    )
    _offer_filters(parser, words)
    offer_change(parser)
    offer_json(parser)


def _offer_filters(parser: argparse.ArgumentParser, words: str = "", usual: str = "") -> None:
    parser.add_argument(
        "--reason",
        action="append",
        default=[],
        type=str if words else _reason,
        help=f"only those of this reason ({', '.join(_REASONS)}){words}; may be repeated",
    )
    parser.add_argument(
        "--courier", action="append", default=[], choices=tuple(COURIERS), help="only this courier's; may be repeated"
    )
    parser.add_argument("--since", type=moment, metavar="TIME", help="only those dead since (a time, or 2h, 3d ago)")
    parser.add_argument("--limit", type=positive, metavar="N", help=f"at most N, the newest{usual}")


def _reason(text: str) -> str:
    if text not in _REASONS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(_REASONS)}")
    return text


def _ratio(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return found


def _selection(arguments: argparse.Namespace) -> LetterSelection:
    return LetterSelection(
        tuple(getattr(arguments, "letters", ())),
        tuple(each for each in arguments.reason if each in _REASONS),
        tuple(arguments.courier),
        arguments.since,
    )


async def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    found = []
    limit = most_listed(arguments)
    async with await open_pool(settings, OPERATOR, 1) as pool, aclosing(letters(pool, _selection(arguments))) as all_:
        async for letter in all_:
            if arguments.all or letter.needs_something:
                found.append(shown(letter))
            if len(found) == limit:
                break
    if len(found) == limit:
        complain(f"there may be more: --limit {limit}")
    if arguments.json:
        say_json(found)
        return DONE
    if not found:
        say("no dead letter" if arguments.all else "no open dead letter")
        return DONE
    say_table(
        ("at", "state", "reason", "courier", "dead since", "bytes", "key"),
        [(each.at, each.state, each.reason, each.courier, each.dead_at, each.bytes, each.key) for each in found],
    )
    return DONE


async def _show(settings: Settings, arguments: argparse.Namespace) -> int:
    async with await open_pool(settings, OPERATOR, 1) as pool:
        letter = await find(pool, arguments.letter)
        body = next(iter(await bodies(pool, [letter])), None)
        if body is None:
            raise OperatorError(f"the dead letter {letter.at} is not stored any more")
        if arguments.show_personal:
            async with pool.acquire() as connection:
                await note(connection, operator_name(settings), "dlq show --show-personal", {"letter": letter.at})
    reading = reread(body.record, "", settings.assumed_zone, partitions=1)
    headers = {
        name: None if value is None else str(value, "utf-8", "replace")
        for name, value in body.record.headers
        if not name.startswith("dlq-")
    }
    held = body.record.value
    text = str(held, "utf-8", "replace") if arguments.show_personal and held is not None else None
    read = today(reading)
    told = msgspec.to_builtins(shown(letter))
    if arguments.json:
        say_json({**told, "headers": headers, "today": read, "body": text})
        return DONE
    for name, value in told.items():
        if value is not None:
            say(f"{name:12} {value}")
    for name, value in headers.items():
        say(f"{'header':12} {name}: {value}")
    say(f"{'today':12} {read.in_words}")
    hidden = "none: the record came without one, or it was erased" if held is None else HIDDEN_BODY
    say(f"{'body':12} {hidden if text is None else text}")
    return DONE


async def _redrive(settings: Settings, arguments: argparse.Namespace) -> int:
    selection = _selection(arguments)
    async with await open_pool(settings, OPERATOR, 2) as pool:
        chosen = await choose(pool, selection, arguments.limit)
        prediction = await predict(pool, chosen, settings.assumed_zone)
        predicted = {**msgspec.to_builtins(prediction), "passed_over": chosen.passed}
        value = {**predicted, "dry_run": arguments.dry_run, "redriven": None}
        code = unconfirmed(arguments, lambda: _say_prediction(chosen, prediction), value, anything=bool(chosen.letters))
        if code is not None:
            return code
        async with alone(pool, LOCK, "redrive"), open_appender(settings) as appender:
            run = Redrive(pool, appender, settings.assumed_zone, operator_name(settings))
            done = await run.run(chosen, selection, arguments.max_failure_ratio, complain if arguments.json else say)
    if arguments.json:
        say_json({**value, "redriven": {**msgspec.to_builtins(done), "came_back": done.came_back}})
    else:
        _say_done(done)
    return FAILED if done.stopped else DONE


async def _drop(settings: Settings, arguments: argparse.Namespace) -> int:
    selection = _selection(arguments)
    why = "; ".join(each for each in arguments.reason if each not in _REASONS) or None
    async with await open_pool(settings, OPERATOR, 1) as pool:
        async with aclosing(letters(pool, selection)) as all_:
            chosen = [each async for each in all_ if each.state is LetterState.OPEN][: arguments.limit]
        said = f"{len(chosen)} open dead letters {_spread(chosen)}"
        value = {"dry_run": arguments.dry_run, "dropped": False, "letters": [shown(each) for each in chosen]}
        if (code := unconfirmed(arguments, lambda: say(said), value, anything=bool(chosen))) is not None:
            return code
        detail = {"letters": [each.at for each in chosen], "why": why}
        await drop(pool, chosen, operator_name(settings), why, detail)
    if arguments.json:
        say_json({**value, "dropped": True})
    else:
        say(f"{len(chosen)} dropped")
    return DONE


def _say_prediction(chosen: Chosen, prediction: Prediction) -> None:
    say(f"{len(chosen.letters)} dead letters {_spread(chosen.letters)}")
    say(f"  {prediction.readable} would be read by today's code")
    for reason, count in sorted(prediction.unreadable.items()):
        say(f"  {count} would come back as {reason}")
    for each in chosen.passed:
        say(f"  passed over: {each.at}, {each.why}")


def _say_done(done: Redriven) -> None:
    came = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.outcomes.items()))
    say(f"{done.job}: {done.appended} of {done.letters} redriven; {came or 'none applied yet'}")
    if done.stopped:
        complain(f"stopped: {done.stopped}")


def _spread(letters: tuple[Letter, ...] | list[Letter]) -> str:
    reasons = sorted(each.reason for each in letters)
    counted = ", ".join(f"{len(list(group))} {reason}" for reason, group in groupby(reasons))
    return f"({counted})" if counted else ""
