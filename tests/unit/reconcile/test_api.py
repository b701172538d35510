"""Both couriers' APIs against the simulator, over real HTTP: every answer has its outcome, secrets stay in place."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import trustme
from aiohttp import web

from devstack.couriers.lives import Life, lives
from devstack.couriers.misbehaviour import (
    BROKEN,
    THROTTLED,
    Cut,
    Dripping,
    Fickleness,
    HtmlPage,
    Huge,
    Malformed,
    Misbehaviour,
    Redirected,
    Refused,
    Slow,
)
from devstack.couriers.server import serving
from devstack.couriers.simulator import SIGN_IN, Account, Simulator
from reconcile import line as line_module
from reconcile import waiting
from reconcile.api import Api, couriers_asked, lacking
from reconcile.errors import NotNowError
from reconcile.line import CourierClient, open_session
from reconcile.outcomes import Answered, AskOutcome, Failed, Throttled, Unknown
from reconcile.outcomes import Refused as RefusedUs
from reconcile.waiting import TRIP_AFTER
from runtime.settings import load_settings
from schemas.couriers import COURIERS

KEY, CLIENT_KEY, CLIENT_SECRET = "merchant-k3y", "client-k3y", "client-s3cret"
SIMULATED = ("kiriminaja", "dash")
KNOWN = lives(60, 3, datetime(2025, 3, 1, 8, tzinfo=UTC))
FAST = 1_000


def of(courier: str) -> list[Life]:
    return [life for life in KNOWN if life.courier == courier]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "ANSWER_SECONDS", 1.0)


@pytest.fixture
def simulator() -> Simulator:
    simulator = Simulator(Account(KEY, CLIENT_KEY, CLIENT_SECRET))
    simulator.add(*KNOWN, moves=99)
    return simulator


class Asker:
    """One courier, asked as the service asks it."""

    def __init__(self, api: Api, line: CourierClient) -> None:
        self.api = api
        self.line = line

    async def ask(self, reference: str) -> AskOutcome:
        in_the_way = await self.api.prepare()
        if in_the_way is not None:
            return in_the_way
        await self.line.turn()
        return await self.api.ask(reference)


@asynccontextmanager
async def asking(
    courier: str,
    url: str,
    *,
    key: str = KEY,
    secret: str = CLIENT_SECRET,
    rate: int = FAST,
    limit: int = 2**20,
    stop: asyncio.Event | None = None,
    once: bool = False,
) -> AsyncIterator[Asker]:
    settings = load_settings(
        {
            "WAYBILL_KIRIMINAJA_API_URL": url,
            "WAYBILL_KIRIMINAJA_API_KEY": key,
            "WAYBILL_DASH_API_URL": url,
            "WAYBILL_DASH_CLIENT_KEY": CLIENT_KEY,
            "WAYBILL_DASH_CLIENT_SECRET": secret,
        }
    )
    async with open_session() as session:
        line = CourierClient(session, courier, rate, limit, stop or asyncio.Event(), once=once, not_before=0.0)
        tracking = COURIERS[courier].tracking
        assert tracking is not None
        yield Asker(Api(tracking, settings, line), line)


@pytest.mark.parametrize("courier", SIMULATED)
async def test_answers_become_raw_records(courier: str, simulator: Simulator) -> None:
    async with serving(simulator) as url, asking(courier, url) as asker:
        for life in of(courier)[:5]:
            outcome = await asker.ask(life.reference)
            assert isinstance(outcome, Answered)
            assert len(outcome.pieces) == (1 if courier == "dash" else len(life.moves))
            assert {piece.reference for piece in outcome.pieces} == {life.reference}
        assert await asker.ask("NOBODY-1") == Unknown()


Judge = Callable[[AskOutcome], bool]
TABLE: dict[str, tuple[Misbehaviour, Judge]] = {
    "throttled": (THROTTLED, lambda said: said == Throttled()),
    "throttled for a while": (Refused(429, "0"), lambda said: said == Throttled(0.0)),
    "broken": (BROKEN, lambda said: isinstance(said, Failed) and said.again),
    "away": (Refused(503, "0"), lambda said: isinstance(said, Failed) and said.again and said.hold == 0.0),
    "forbidden": (Refused(403), lambda said: isinstance(said, RefusedUs)),
    "teapot": (Refused(418), lambda said: isinstance(said, Failed) and not said.again),
    "slow": (Slow(30), lambda said: isinstance(said, Failed) and said.again and "no answer" in said.why),
    "dripping": (Dripping(30), lambda said: isinstance(said, Failed) and said.again and "no answer" in said.why),
    "malformed": (Malformed(), lambda said: isinstance(said, Failed) and "cannot be read" in said.why),
    "a page": (HtmlPage(), lambda said: isinstance(said, Failed) and "cannot be read" in said.why),
    "huge": (Huge(), lambda said: isinstance(said, Failed) and "larger than" in said.why),
    "redirected": (Redirected(), lambda said: isinstance(said, Failed) and "redirect" in said.why),
    "cut": (Cut(), lambda said: isinstance(said, Failed) and said.again),
    "cut in the answer": (Cut(answering=True), lambda said: isinstance(said, Failed) and said.again),
}


@pytest.mark.parametrize("courier", SIMULATED)
@pytest.mark.parametrize("name", TABLE)
async def test_misbehaviour_has_its_outcome(name: str, courier: str, simulator: Simulator) -> None:
    misbehaviour, right = TABLE[name]
    reference = of(courier)[0].reference
    simulator.script.next_answers(reference, [misbehaviour] * 2)
    async with serving(simulator) as url, asking(courier, url) as asker:
        outcome = await asker.ask(reference)
        assert right(outcome), outcome
        assert not simulator.strayed
        while simulator.script.decide(courier, reference):
            continue
        assert isinstance(await asker.ask(reference), Answered), "the next answer is taken as it is"
    assert not any(secret in repr(outcome) for secret in (KEY, CLIENT_KEY, CLIENT_SECRET))


@pytest.mark.parametrize("name", [name for name in TABLE if name != "forbidden"])
async def test_a_sign_in_that_fails_is_no_refusal(name: str, simulator: Simulator) -> None:
    misbehaviour, right = TABLE[name]
    simulator.script.next_answers(SIGN_IN, [misbehaviour])
    async with serving(simulator) as url, asking("dash", url) as asker:
        outcome = await asker.ask(of("dash")[0].reference)
        assert right(outcome), outcome
        assert not simulator.strayed
        assert isinstance(await asker.ask(of("dash")[0].reference), Answered)
    assert CLIENT_SECRET not in repr(outcome)


async def test_wrong_credentials_are_refused(simulator: Simulator) -> None:
    async with serving(simulator) as url:
        for courier in SIMULATED:
            async with asking(courier, url, key="wrong", secret="wrong") as asker:
                outcome = await asker.ask(of(courier)[0].reference)
                assert isinstance(outcome, RefusedUs)
                assert "401" in outcome.why


async def test_a_token_is_kept_and_renewed_once(simulator: Simulator) -> None:
    references = [life.reference for life in of("dash")]

    def sign_ins() -> int:
        return len(simulator.times(SIGN_IN))

    async with serving(simulator) as url, asking("dash", url) as asker:
        await asyncio.gather(*map(asker.ask, references[:10]))
        assert sign_ins() == 1
        simulator.expire_tokens()
        outcomes = await asyncio.gather(*map(asker.ask, references[:10]))
        assert all(isinstance(outcome, Answered) for outcome in outcomes)
        assert sign_ins() == 2


async def test_a_token_that_is_never_good_is_a_refusal(simulator: Simulator) -> None:
    forgetful = Simulator(simulator.account, token_seconds=-1.0)
    async with serving(forgetful) as url, asking("dash", url) as asker:
        assert isinstance(await asker.ask("DE-1"), RefusedUs)
    assert len(forgetful.times(SIGN_IN)) == 2


@pytest.mark.parametrize("reference", ["a/b", "a?b#c", "..", ".", "%2F", "é λ", "a\nb", "x" * 128])
async def test_references_are_quoted(reference: str) -> None:
    seen = []

    async def tracking(request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/token"):
            return web.json_response({"token": "t"})
        seen.append(request.rel_url.raw_path)
        return web.json_response({"deliveryID": reference, "status": "PREPARING"})

    runner = web.ServerRunner(web.Server(tracking))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with asking("dash", f"http://127.0.0.1:{runner.addresses[0][1]}") as asker:
            assert isinstance(await asker.ask(reference), Answered)
    finally:
        await runner.cleanup()
    quoted = quote(reference, safe="")
    assert seen == [f"/v1/deliveries/{quoted.replace('.', '%2E') if set(reference) == {'.'} else quoted}"]


@pytest.mark.parametrize("courier", SIMULATED)
async def test_a_server_nobody_vouches_for_gets_no_secret(courier: str, simulator: Simulator) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with serving(simulator, context) as url, asking(courier, url) as asker:
        outcome = await asker.ask(of(courier)[0].reference)
    assert isinstance(outcome, Failed)
    assert "certificate" in outcome.why.lower()
    assert simulator.asked == []


async def test_a_courier_that_cannot_be_reached(unused_tcp_port: int) -> None:
    async with asking("kiriminaja", f"http://127.0.0.1:{unused_tcp_port}") as asker:
        outcome = await asker.ask("X")
    assert isinstance(outcome, Failed)
    assert outcome.again
    assert str(unused_tcp_port) in outcome.why


@pytest.mark.parametrize("courier", SIMULATED)
async def test_the_rate_is_kept_whatever_the_answers_do(courier: str, simulator: Simulator) -> None:
    rate = 20
    fickle = Fickleness(0.5, (Slow(0.3), BROKEN, Cut(), Malformed()))
    simulator.script.by_chance(courier, fickle)
    references = [life.reference for life in of(courier)] * 3
    async with serving(simulator) as url, asking(courier, url, rate=rate) as asker:
        await asyncio.gather(*map(asker.ask, references[:60]))
    assert simulator.busiest(courier) <= rate
    assert len(simulator.asked) >= 60


async def test_a_hold_is_heeded_by_all(simulator: Simulator) -> None:
    first, second = (life.reference for life in of("kiriminaja")[:2])
    simulator.script.next_answers(first, [Refused(429, "2")])
    async with serving(simulator) as url, asking("kiriminaja", url) as asker:
        assert await asker.ask(first) == Throttled(2.0)
        assert isinstance(await asker.ask(second), Answered)
    assert simulator.times(second)[0] - simulator.times(first)[0] >= 2.0


async def test_who_asks_once_waits_for_no_hour(simulator: Simulator) -> None:
    reference = of("kiriminaja")[0].reference
    simulator.script.next_answers(reference, [Refused(429, "3600")])
    async with serving(simulator) as url, asking("kiriminaja", url, once=True) as asker:
        assert await asker.ask(reference) == Throttled(3600.0)
        with pytest.raises(NotNowError, match="left alone"):
            await asker.ask(reference)


async def test_a_courier_that_fails_is_left_alone(simulator: Simulator) -> None:
    reference = of("kiriminaja")[0].reference
    simulator.script.by_chance("kiriminaja", Fickleness(1.0, (HtmlPage(),)))
    stop = asyncio.Event()
    async with serving(simulator) as url, asking("kiriminaja", url, stop=stop) as asker:
        for _ in range(TRIP_AFTER):
            assert isinstance(await asker.ask(reference), Failed)
        waiting = asyncio.create_task(asker.ask(reference))
        assert not (await asyncio.wait([waiting], timeout=0.2))[0]
        stop.set()
        with pytest.raises(NotNowError, match="stopping"):
            await waiting
    assert len(simulator.asked) == TRIP_AFTER


async def test_who_asks_once_gives_a_dead_courier_up(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_COOLING", 0.05)
    reference = of("dash")[0].reference
    simulator.script.by_chance("dash", Fickleness(1.0, (BROKEN,)))
    async with serving(simulator) as url, asking("dash", url, once=True) as asker:
        for _ in range(TRIP_AFTER + 1):
            assert isinstance(await asker.ask(reference), Failed)
        with pytest.raises(NotNowError, match="does not answer"):
            await asker.ask(reference)
    assert len(simulator.asked) == TRIP_AFTER + 1


async def test_a_courier_that_comes_back_is_asked_again(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_COOLING", 0.05)
    reference = of("kiriminaja")[0].reference
    simulator.script.next_answers(reference, [BROKEN] * (TRIP_AFTER + 2))
    async with serving(simulator) as url, asking("kiriminaja", url) as asker:
        outcomes = [await asker.ask(reference) for _ in range(TRIP_AFTER + 5)]
    assert [isinstance(outcome, Answered) for outcome in outcomes] == [False] * (TRIP_AFTER + 2) + [True] * 3


def test_what_is_lacking_is_named() -> None:
    settings = load_settings({"WAYBILL_DASH_API_URL": "https://api.example.com", "WAYBILL_DASH_CLIENT_KEY": "k"})
    assert couriers_asked(settings) == ()
    assert lacking(settings, "dash") == ("WAYBILL_DASH_CLIENT_SECRET",)
    assert lacking(settings, "kiriminaja") == ("WAYBILL_KIRIMINAJA_API_URL", "WAYBILL_KIRIMINAJA_API_KEY")
