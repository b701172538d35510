"""`waybill courier send`: captured bodies, posted to a door as their courier would."""

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from cli.bodies import read_bodies
from cli.door import door_url, plain_secret, posting_headers
from cli.exit_codes import DONE, FAILED, USAGE
from cli.signals import run
from cli.starting import start
from cli.terminal.arguments import offer_json
from cli.terminal.output import complain, say, say_json
from operators.trial.report import Body
from operators.trial.run import readers_of
from runtime.settings import PREFIX, Settings
from schemas.couriers import COURIERS

ANSWER_SECONDS: Final = 30.0
"""How long the door may take to answer. It gives up by itself within a few seconds."""

MAX_ANSWER_BYTES: Final = 16_384
"""How much of an answer is read. The door's have some hundred bytes."""


class Sent(msgspec.Struct, frozen=True):
    """What became of a body: the status that it was answered with and what the answer says; None: none came."""

    file: str
    bytes: int
    status: int | None
    answer: Any

    @property
    def accepted(self) -> bool:
        """Whether the door has it."""
        return self.status is not None and 200 <= self.status < 300


def offer_bodies(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Offer what names captured bodies and their courier, which must be named if `required`."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file that holds one body; -: standard input")
    usual = "" if required else " (default: the one whose reading knows them all)"
    parser.add_argument(
        "--courier",
        required=required,
        type=_known,
        choices=tuple(COURIERS),
        metavar="C",
        help=f"whose bodies they are{usual}",
    )


def offer(verbs: Any) -> None:
    """Offer the verb."""
    sending = verbs.add_parser("send", help="post bodies to a door, with the courier's secret; tells each answer")
    sending.description = (
        "Posts the files to the door, each once and one after the other, as the courier would. The door is that of the "
        "settings, or of a `waybill up` whose `export` line was run in this terminal. Exit code 1: one is not accepted."
    )
    offer_bodies(sending, required=False)
    sending.add_argument(
        "--url", type=_url, help="the door's address, without the path (default: that of the settings)"
    )
    offer_json(sending)
    sending.set_defaults(command=_send)


def _known(text: str) -> str:
    if text not in COURIERS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(COURIERS)}; a new one begins with `waybill courier new`"
        )
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://127.0.0.1:8080")
    return text.rstrip("/")


def _send(arguments: argparse.Namespace) -> int:
    settings = start()
    limit = settings.ingest_max_body_bytes
    bodies = read_bodies(arguments.files, limit)
    for body in bodies:
        if len(body.content) > limit:
            complain(f"{body.file} is larger than the {limit} bytes that a door takes: nothing was sent")
            return FAILED
    courier = arguments.courier or _whose(bodies, settings)
    if courier is None:
        return USAGE
    secret = plain_secret(settings.secrets[courier])
    if secret is None:
        name = f"{PREFIX}{COURIERS[courier].credentials.secrets_setting}"
        digests = " (it holds digests only)" if settings.secrets[courier] else ""
        complain(
            f"set {name} to a secret that the door accepts{digests}; `waybill up` prints an `export` line with its own"
        )
        return USAGE
    url = f"{arguments.url or door_url(settings)}/webhooks/{courier}"
    return run(_send_all(url, posting_headers(settings, courier, secret), bodies, arguments))


def _whose(bodies: Sequence[Body], settings: Settings) -> str | None:
    """Return the one courier that can have written the bodies; say so where there is not just one."""
    found = readers_of(bodies, settings, datetime.now(UTC))
    if len(found) == 1:
        return found[0]
    complain(f"say --courier: {' and '.join(found) or 'none of them'} can read these bodies")
    return None


async def _send_all(url: str, headers: Mapping[str, str], bodies: Sequence[Body], arguments: argparse.Namespace) -> int:
    """Post the bodies and tell each answer as it comes. Returns the exit code."""
    sent = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
        for body in bodies:
            sent.append(await post(session, url, body, headers))
            if not arguments.json:
                say(_told(sent[-1]))
    if arguments.json:
        say_json(sent)
    return DONE if all(each.accepted for each in sent) else FAILED


async def post(session: aiohttp.ClientSession, url: str, body: Body, headers: Mapping[str, str]) -> Sent:
    """Post a body once. A redirect is an answer like any other: it is not followed, the secret is for this door."""
    try:
        async with session.post(url, data=body.content, headers=headers, allow_redirects=False) as answer:
            text = await answer.content.read(MAX_ANSWER_BYTES)
            return Sent(body.file, len(body.content), answer.status, _read(text))
    except TimeoutError:
        return Sent(body.file, len(body.content), None, f"no answer within {ANSWER_SECONDS:.0f} s")
    except aiohttp.ClientError as error:
        return Sent(body.file, len(body.content), None, str(error) or type(error).__name__)


def _read(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text.decode(errors="replace")


def _told(sent: Sent) -> str:
    match sent.answer:
        case {"webhook_id": webhook, "records": records}:
            says = f"accepted as webhook {webhook}, {records} {'record' if records == 1 else 'records'}"
        case {"detail": detail}:
            says = str(detail)
        case str(text):
            says = text
        case other:
            says = msgspec.json.encode(other).decode()
    return f"{sent.file}: {sent.status or 'no answer'}, {says}"
