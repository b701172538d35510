"""The simulated couriers: what they say has the shape of their documents' examples, and they misbehave as asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from devstack.couriers import dash, kiriminaja
from devstack.couriers.lives import (
    LONGEST,
    PULLED_KINDS,
    Habits,
    Life,
    dash_express,
    dash_logistic,
    heard,
    kiriminaja_express,
    kiriminaja_instant,
    lives,
    so_far,
    truth,
    untold,
)
from devstack.couriers.misbehaviour import (
    BROKEN,
    THROTTLED,
    THROTTLED_FOR_A_SECOND,
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
from devstack.couriers.sending import Receiver, send, unheard
from devstack.couriers.server import serving
from devstack.couriers.simulator import SIGN_IN, Account, Simulator, Strayed, busiest
from devstack.couriers.webhooks import Mischief, Told, mangle, webhooks
from tests.unit.schemas.examples import SAMPLES

START = datetime(2025, 3, 1, 8, tzinfo=UTC)
ACCOUNT = Account("merchant-key", "client-key", "client-secret")
KEY = {"Authorization": "Bearer merchant-key"}
KINDS = (*PULLED_KINDS, kiriminaja_instant)


@cache
def many() -> tuple[Life, ...]:
    """Return lives of every kind. Nobody changes them."""
    return lives(1600, 7, START, KINDS)


def grown(life: Life) -> Iterator[Life]:
    """The life as it stood after each of its moves."""
    return (so_far(life, moves) for moves in range(1, len(life.moves) + 1))


def of(kind: str, service: str) -> list[Life]:
    return [life for life in many() if (life.courier, life.service) == (kind, service)]


def with_word(kind: Callable[[int, int, datetime], Life], word: str) -> Life:
    """The first life of the kind that ends with this word."""
    return next(life for number in range(1000) if (life := kind(number, 1, START)).moves[-1].word == word)


def sample(name: str) -> Any:
    return json.loads(SAMPLES[name].read_text())


# --- Shapes ---------------------------------------------------------------------------------------------------------


def differences(example: Any, made: Any, nullable: bool = False, path: str = "") -> list[str]:
    """Where a document has not the example's keys and types. A null stands for any type if `nullable`."""
    if isinstance(example, dict) and isinstance(made, dict):
        wrong = [f"{path}: {sorted(example.keys() ^ made.keys())}"] if example.keys() != made.keys() else []
        for key in example.keys() & made.keys():
            wrong += differences(example[key], made[key], nullable, f"{path}.{key}")
        return wrong
    if isinstance(example, list) and isinstance(made, list):
        return [error for item in made for error in differences(example[0], item, nullable, f"{path}[]") if example]
    if nullable and None in (example, made):
        return []
    return [] if _type(example) == _type(made) else [f"{path}: {made!r} is not like {example!r}"]


def _type(value: Any) -> Any:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def test_the_comparison_can_fail() -> None:
    example = {"a": 1, "b": [{"c": ""}], "d": None}
    assert differences(example, {"a": 2.5, "b": [], "d": None}) == []
    assert differences(example, {"a": True, "b": [{"c": 1}], "d": ""}, nullable=True) != []
    assert differences(example, {"a": 1, "b": [{"e": ""}], "d": None}) != []
    assert differences(example, {"a": 1, "b": []}) == [": ['d']"]


UNDOCUMENTED = {
    "express": {
        *("PENDING_RETURN", "IN_RETURN", "RETURNED", "DISPOSED", "EXPIRED", "RETURN_TO_HUB"),
        *("ARRIVED_AT_PICKUP_POINT", "ARRIVED_AT_DESTINATION"),
    },
    "logistic": {
        *("PENDING_RETURN", "IN_RETURN", "RETURNED", "DISPOSED", "CANCELLED", "QUEUEING"),
        *("PENDING_PICKUP", "PENDING_PICKING_UP"),
    },
}
"""Words of Dash's own state machine that its document does not show for the service."""


@pytest.mark.parametrize("service", ["express", "logistic"])
def test_dash_envelopes_are_like_the_examples(service: str) -> None:
    undocumented = UNDOCUMENTED[service]
    examples = {
        path.stem.upper(): sample(name) for name, path in SAMPLES.items() if name.startswith(f"dash/{service}/")
    }
    seen = set()
    for life in of("dash", service):
        for state in grown(life):
            made, word = dash.envelope(state), state.moves[-1].word
            seen.add(word)
            if word in undocumented:
                continue
            if word == "IN_DELIVERY" and life.parcel.habits.in_delivery_updated:
                assert made.pop("updatedAt")
            if word == "CANCELLED" and made["courier"] is None:
                made["courier"] = examples[word]["courier"]
            assert differences(examples[word], made) == [], word
            assert [proof["type"] for proof in made["media"]] == [proof["type"] for proof in examples[word]["media"]]
    assert seen == examples.keys() | undocumented


def runs_of_four(life: Life) -> list[list[str]]:
    words = [move.word for move in life.moves]
    return [words[at : at + 4] for at in range(len(words) - 3)]


def test_dash_counts_failures_and_recovers() -> None:
    life = next(
        life
        for life in of("dash", "logistic")
        if ["FAILED", "PENDING_DELIVERY", "IN_DELIVERY", "FAILED"] in runs_of_four(life)
    )
    counts = [(body["status"], body["failedCount"]) for body in map(dash.envelope, grown(life))]
    first = counts.index(("FAILED", 1))
    assert counts[first + 1 : first + 4] == [("PENDING_DELIVERY", 1), ("IN_DELIVERY", 1), ("FAILED", 2)]


def test_a_stale_pick_up_stays_after_a_recovery() -> None:
    life = next(life for life in of("dash", "logistic") if [move.word for move in life.moves].count("IN_DELIVERY") == 2)

    def pickups(stale: bool) -> set[str]:
        parcel = msgspec.structs.replace(life.parcel, habits=Habits(stale_pickup=stale))
        states = grown(msgspec.structs.replace(life, parcel=parcel))
        return {body["pickupAt"] for body in map(dash.envelope, states) if body.get("pickupAt")}

    assert (len(pickups(stale=True)), len(pickups(stale=False))) == (1, 2)


def test_tracking_documents_are_like_the_example() -> None:
    example = sample("kiriminaja/tracking/delivered.json")
    example["histories"] = example["histories"][:1]
    codes = set()
    for life in of("kiriminaja", "express"):
        for state in grown(life):
            made = kiriminaja.tracking(state)
            codes.add(made["status_code"])
            assert differences(example, made, nullable=True) == []
            if life.parcel.habits == Habits() and made["status_code"] == 200:
                assert differences(example, made) == []
    of_today = {102, 103, 104, 106, 210, 301, 333, 403}
    assert codes == {100, 101, 105, 152, 200, 300, 500, 555, 401, 402, 400, 701, 702, 703, 704} | of_today


def test_tracking_histories_are_newest_first_and_cut_to_the_minute() -> None:
    for life in of("kiriminaja", "express"):
        made = kiriminaja.tracking(life)
        times = [entry["created_at"] for entry in made["histories"]]
        assert all(newer > older for newer, older in pairwise(times))
        assert all(time.endswith(":00") for time in times[:-1])
        assert (made["text"], made["status_code"]) == (
            made["histories"][0]["status"],
            made["histories"][0]["status_code"],
        )


def test_a_delivered_parcel() -> None:
    life = with_word(kiriminaja_express, "200")
    made = kiriminaja.tracking(life)
    details, newest = made["details"], made["histories"][0]
    assert details["delivered"] is True
    assert details["delivered_at"][:16] != newest["created_at"][:16]
    assert newest["receiver"] in newest["status"]
    local = life.moves[-1].at + timedelta(hours=7)
    assert f"{local:%d-%m-%Y %H:%M}" in newest["status"]
    assert newest["created_at"] == f"{local:%Y-%m-%d %H:%M}:00"
    assert details["images"]["camera_img"]


def test_a_parcel_just_created() -> None:
    life = with_word(kiriminaja_express, "200")
    details = kiriminaja.tracking(so_far(life, 1))["details"]
    assert details["awb"] is None
    assert not any([details["shipped_at"], details["delivered_at"], details["refunded_at"], details["delivered"]])


@pytest.mark.parametrize(
    "method",
    [
        "processed_packages",
        "shipped_packages",
        "canceled_packages",
        "finished_packages",
        "returned_packages",
        "return_finished_packages",
    ],
)
def test_short_webhooks_are_like_the_examples(method: str) -> None:
    states = [state for life in of("kiriminaja", "express") for state in grown(life) if state.moves[-1].push == method]
    bodies = [body for body, _ in kiriminaja.bodies(states, "short", 3)]
    assert bodies
    assert all(1 <= len(body["data"]) <= 3 for body in bodies)
    for body in bodies:
        assert differences(sample(f"kiriminaja/express/{method}.json"), body, method == "returned_packages") == []


def test_returned_packages_say_whether_it_has_arrived() -> None:
    told = {
        (state.moves[-1].status, body["data"][0]["returned_at"] is None)
        for life in of("kiriminaja", "express")
        for state in grown(life)
        if state.moves[-1].push == "returned_packages"
        for body, _ in kiriminaja.bodies([state], "short", 1)
    }
    assert told == {("RETURNING", True), ("RETURNED", False)}


def test_instant_webhooks_are_like_the_example() -> None:
    example = sample("kiriminaja/instant/update_instant_packages.json")
    words = set()
    for life in of("kiriminaja", "instant"):
        for body, _ in kiriminaja.bodies(grown(life), "short", 5):
            if body["method"] == "update_instant_packages":
                words.add(body["data"]["status"])
                assert differences(example, body, nullable=True) == []
            else:
                assert body["packages"][0]["service_type"] == "instant"
    assert words == {"picked_up", "sent", "no_driver", "delivered", "cancel", "return", "returned"}


def test_what_comes_back_after_its_end() -> None:
    ends = [[str(move.status) for move in life.moves][-2:] for life in lives(2000, 1, START, KINDS)]
    assert {("DELIVERED", "RETURNED"), ("CANCELLED", "DELIVERED"), ("RETURNING", "DELIVERED")} <= set(map(tuple, ends))


def test_complete_webhooks_carry_packages_beside_data() -> None:
    life = with_word(kiriminaja_express, "200")
    body = [body for body, _ in kiriminaja.bodies(grown(life), "complete", 5)][-1]
    (item,) = body["data"]
    assert body["method"] == "finished_packages"
    assert item["finished_at"] == f"{life.moves[-1].at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert item["date"] < item["shipped_at"] < item["finished_at"]
    assert item["returned_at"] is item["rejected_at"] is item["reason"] is None
    assert [package["order_id"] for package in body["packages"]] == [life.order_id]
    assert body["payment"].keys() == {"payment_id", "amount", "status_code", "qr_content", "pay_time"}


def test_the_date_of_the_complete_format_is_the_orders_on_each_of_its_webhooks() -> None:
    for life in of("kiriminaja", "express"):
        items = [body["data"][0] for body, _ in kiriminaja.bodies(grown(life), "complete", 1)]
        assert {item["date"] for item in items} <= {kiriminaja.micro_zulu(life.moves[0].at)}


def test_a_cancel_in_the_complete_format_has_its_time_in_rejected_at() -> None:
    life = with_word(kiriminaja_express, "300")
    (item,) = [body for body, _ in kiriminaja.bodies(grown(life), "complete", 5)][-1]["data"]
    assert item["rejected_at"] == kiriminaja.micro_zulu(life.moves[-1].at)
    assert "canceled_at" not in item


# --- Lives ----------------------------------------------------------------------------------------------------------


def test_lives_are_the_same_for_the_same_seed() -> None:
    assert lives(1600, 7, START, KINDS) == many()
    assert lives(1600, 8, START, KINDS) != many()
    assert len({life.reference for life in many()}) == len(many())


def test_moves_are_minutes_apart_and_end_in_time() -> None:
    for life in many():
        times = [move.at for move in life.moves]
        cut = [at.replace(second=0, microsecond=0) for at in times]
        assert all(later > earlier for earlier, later in pairwise(cut))
        assert times[-1] < START + LONGEST


def test_the_truth_is_the_last_move() -> None:
    assert truth(with_word(dash_logistic, "RETURNED")) == "RETURNED"
    assert truth(with_word(dash_express, "COMPLETED")) == "DELIVERED"
    assert truth(with_word(kiriminaja_express, "704")) == "CLAIM_SETTLED"
    assert truth(so_far(many()[0], 0)) is None


def test_what_webhooks_cannot_tell_is_not_heard() -> None:
    life = with_word(kiriminaja_express, "555")
    assert (truth(life), heard(life)) == ("SEIZED", "IN_TRANSIT")
    assert [move.word for move in untold(life)] == ["555"]
    assert all(truth(life) == heard(life) for life in of("dash", "express"))


def test_a_status_that_came_and_went_unheard() -> None:
    ways = [state for life in of("kiriminaja", "express") for state in grown(life)]
    life = next(life for life in ways if [move.word for move in life.moves[-2:]] == ["702", "100"])
    assert truth(life) == heard(life) == "IN_TRANSIT"
    assert [move.status for move in untold(life)] == ["DAMAGED"]


def test_everything_is_told_where_each_move_has_a_webhook() -> None:
    assert not any(untold(state) for life in of("dash", "logistic") for state in grown(life))
    assert untold(so_far(with_word(kiriminaja_express, "200"), 1)) != ()


def test_every_end_happens() -> None:
    ends = {truth(life) for life in lives(2000, 1, START, KINDS)}
    assert ends == {"DELIVERED", "FAILED", "CANCELLED", "RETURNED", "SEIZED", "CLAIM_SETTLED", "DISPOSED"}


# --- Pull over HTTP -------------------------------------------------------------------------------------------------


class Asker:
    """A client of the couriers' tracking."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession, url: str) -> None:
        self.simulator = simulator
        self.url = url
        self._session = session
        self.token = ""

    async def track(self, asked: str, headers: dict[str, str] = KEY) -> tuple[int, Any]:
        url = f"{self.url}/api/mitra/tracking"
        async with self._session.post(url, json={"order_id": asked}, headers=headers) as response:
            return response.status, await response.json()

    async def response(self, asked: str) -> tuple[int, Any, bytes]:
        url = f"{self.url}/api/mitra/tracking"
        body = {"order_id": asked}
        async with self._session.post(url, json=body, headers=KEY, allow_redirects=False) as response:
            return response.status, response.headers, await response.read()

    async def sign_in(self, secret: str = "client-secret") -> int:
        body = {"client_key": "client-key", "client_secret": secret}
        async with self._session.post(f"{self.url}/v1/auth/providers/token", json=body) as response:
            self.token = (await response.json()).get("token", "")
            return response.status

    async def delivery(self, reference: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self._session.get(f"{self.url}/v1/deliveries/{reference}", headers=headers) as response:
            return response.status, await response.json()


@asynccontextmanager
async def asking(*known: Life, **options: Any) -> AsyncIterator[Asker]:
    simulator = Simulator(ACCOUNT, **options)
    simulator.add(*known, moves=99)
    timeout = aiohttp.ClientTimeout(total=30)
    async with serving(simulator) as url, aiohttp.ClientSession(timeout=timeout) as session:
        yield Asker(simulator, session, url)


async def test_a_parcel_is_found_by_its_order_and_its_awb() -> None:
    life = with_word(kiriminaja_express, "200")
    async with asking(life) as asker:
        assert await asker.track(life.order_id) == (200, kiriminaja.tracking(life))
        assert await asker.track(life.awb) == (200, kiriminaja.tracking(life))


async def test_what_is_not_found() -> None:
    delivery, instant = with_word(dash_express, "COMPLETED"), with_word(kiriminaja_instant, "delivered")
    async with asking(delivery, instant) as asker:
        for asked in ("OID-0", "", "x" * 21, delivery.reference, instant.order_id):
            status, said = await asker.track(asked)
            assert (status, said["status"], said.keys()) == (200, False, {"status", "text"})


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "merchant-key"}])
async def test_the_key_is_asked_for(headers: dict[str, str]) -> None:
    life = with_word(kiriminaja_express, "200")
    async with asking(life) as asker:
        status, said = await asker.track(life.order_id, headers)
        assert (status, said["status"]) == (401, False)


async def test_histories_grow() -> None:
    life = with_word(kiriminaja_express, "200")
    async with asking() as asker:
        asker.simulator.add(life)
        assert (await asker.track(life.order_id))[1]["status"] is False
        for moves in range(1, len(life.moves) + 1):
            assert asker.simulator.grow(life.reference) == (so_far(life, moves),)
            assert len((await asker.track(life.order_id))[1]["histories"]) == moves
        assert asker.simulator.grow(life.reference) == ()
        assert asker.simulator.truth() == {life.reference: "DELIVERED"}


async def test_a_delivery_needs_a_token() -> None:
    life = with_word(dash_logistic, "COMPLETED")
    async with asking(life) as asker:
        assert (await asker.delivery(life.reference))[0] == 401
        assert await asker.sign_in("wrong") == 401
        assert await asker.sign_in() == 200
        assert await asker.delivery(life.reference) == (200, dash.envelope(life))
        assert (await asker.delivery("DE-0"))[0] == 404


async def test_tokens_expire() -> None:
    life = with_word(dash_logistic, "COMPLETED")
    async with asking(life) as asker:
        await asker.sign_in()
        asker.simulator.expire_tokens()
        assert (await asker.delivery(life.reference))[0] == 401
        await asker.sign_in()
        assert (await asker.delivery(life.reference))[0] == 200


async def test_tokens_die_of_age() -> None:
    life = with_word(dash_logistic, "COMPLETED")
    async with asking(life, token_seconds=0.0) as asker:
        await asker.sign_in()
        assert (await asker.delivery(life.reference))[0] == 401


# --- Misbehaviour ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def misbehaving(*answers: Misbehaviour) -> AsyncIterator[tuple[Asker, Life]]:
    life = with_word(kiriminaja_express, "200")
    async with asking(life) as asker:
        asker.simulator.script.next_answers(life.reference, answers)
        yield asker, life


async def test_it_refuses_as_scripted_then_behaves() -> None:
    async with misbehaving(THROTTLED, THROTTLED_FOR_A_SECOND, BROKEN, Refused(503, "2")) as (asker, life):
        said = [await asker.response(life.order_id) for _ in range(5)]
        assert [(status, headers.get("Retry-After")) for status, headers, _ in said] == [
            (429, None),
            (429, "1"),
            (500, None),
            (503, "2"),
            (200, None),
        ]
        assert [one.answer for one in asker.simulator.asked] == ["429", "429", "500", "503", "200"]


async def test_it_breaks_documents() -> None:
    async with misbehaving(Malformed(), HtmlPage(), Huge(300_000)) as (asker, life):
        status, headers, body = await asker.response(life.order_id)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        status, headers, body = await asker.response(life.order_id)
        assert (status, headers["Content-Type"].split(";")[0], body[:6]) == (200, "text/html", b"<html>")
        status, _, body = await asker.response(life.order_id)
        assert (status, len(body)) == (200, 300_000)
        assert json.loads(body)["status"] is True


async def test_slow_and_dripping_answers_are_right_in_the_end() -> None:
    async with misbehaving(Slow(0.05), Dripping(0.05)) as (asker, life):
        right = kiriminaja.tracking(life)
        assert await asker.track(life.order_id) == (200, right)
        assert await asker.track(life.order_id) == (200, right)


@pytest.mark.parametrize("answer", [Slow(3600), Dripping(3600)])
async def test_who_gives_up_waiting_does_not_hold_the_server(answer: Misbehaviour) -> None:
    async with misbehaving(answer) as (asker, life):
        waiting = asyncio.create_task(asker.track(life.order_id))
        async with asyncio.timeout(30):
            while not asker.simulator.asked:
                await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await asker.track(life.order_id))[0] == 200


async def test_it_cuts_connections() -> None:
    async with misbehaving(Cut(), Cut(answering=True)) as (asker, life):
        with pytest.raises(aiohttp.ClientConnectionError):
            await asker.track(life.order_id)
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await asker.track(life.order_id)
        assert (await asker.track(life.order_id))[0] == 200


async def test_a_redirect_leads_to_another_host_that_notes_who_comes() -> None:
    async with misbehaving(Redirected(), Redirected("https://other.example/"), Redirected()) as (asker, life):
        status, headers, _ = await asker.response(life.order_id)
        assert (status, headers["Location"].split(":")[1]) == (307, "//localhost")
        assert (await asker.response(life.order_id))[1]["Location"] == "https://other.example/"
        assert asker.simulator.strayed == []
        await asker.track(life.order_id)
        assert asker.simulator.strayed == [Strayed("/elsewhere/api/mitra/tracking", authorized=False)]


async def test_the_token_door_can_be_scripted_too() -> None:
    async with asking() as asker:
        asker.simulator.script.next_answers(SIGN_IN, [BROKEN])
        assert [await asker.sign_in(), await asker.sign_in()] == [500, 200]
        assert len(asker.simulator.times(SIGN_IN)) == 2


async def test_a_share_misbehaves_by_chance_whatever_the_order_of_requests() -> None:
    known = [kiriminaja_express(number, 1, START) for number in range(60)]

    async def answers(order: list[Life]) -> dict[str, list[int]]:
        async with asking(*known) as asker:
            asker.simulator.script.by_chance("kiriminaja", Fickleness(1 / 3, (THROTTLED, BROKEN), seed=5))
            return {life.reference: [(await asker.response(life.order_id))[0] for _ in range(2)] for life in order}

    first = await answers(known)
    assert await answers(known[::-1]) == first
    said = [status for statuses in first.values() for status in statuses]
    assert 20 < sum(status != 200 for status in said) < 60
    assert {429, 500, 200} == set(said)


def test_chance_of_one_courier_leaves_the_other_alone_and_ends() -> None:
    script = Simulator(ACCOUNT).script
    script.by_chance("dash", Fickleness(1.0, (BROKEN,)))
    assert (script.decide("dash", "a"), script.decide("kiriminaja", "b")) == (BROKEN, None)
    script.by_chance("dash", Fickleness(0.0, (BROKEN,)))
    assert script.decide("dash", "a") is None


async def test_it_counts_what_it_was_asked() -> None:
    life = with_word(kiriminaja_express, "200")
    async with asking(life) as asker:
        for asked in (life.order_id, life.awb, "OID-0"):
            await asker.track(asked)
        times = asker.simulator.times(life.reference)
        assert len(times) == 2
        assert times[0] < times[1]
        assert asker.simulator.busiest("kiriminaja", seconds=3600) == 3
        assert asker.simulator.busiest("dash") == 0


def test_the_busiest_second_may_begin_anywhere() -> None:
    assert busiest([], 1.0) == 0
    assert busiest([0.0, 0.9, 1.1, 1.8, 3.0], 1.0) == 3
    assert busiest([0.0, 1.0, 2.0], 1.0) == 1


# --- Webhooks -------------------------------------------------------------------------------------------------------


class Door:
    """A merchant's door: takes webhooks, or refuses the first so many of each body."""

    def __init__(self, refuse: int, status: int) -> None:
        self.got: list[tuple[str, Any, Any]] = []
        self.receiver = Receiver("", "push-token", "", "X-Merchant", "push-secret")
        self._refuse = refuse
        self._status = status
        self._tries: dict[bytes, int] = {}

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._tries[body] = self._tries.get(body, 0) + 1
        self.got.append((request.path, request.headers, json.loads(body)))
        return web.Response(status=self._status if self._tries[body] <= self._refuse else 200)


@asynccontextmanager
async def door(refuse: int = 0, status: int = 503) -> AsyncIterator[Door]:
    there = Door(refuse, status)
    app = web.Application()
    app.router.add_post("/{courier}", there.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        there.receiver = msgspec.structs.replace(
            there.receiver, kiriminaja_url=f"{url}/kiriminaja", dash_url=f"{url}/dash"
        )
        yield there
    finally:
        await runner.cleanup()


async def test_dash_sends_every_move_with_the_merchants_header() -> None:
    life = with_word(dash_logistic, "COMPLETED")
    async with door() as there:
        sent = await send(webhooks(grown(life)), there.receiver, at_once=1)
    assert all(one.delivered and one.attempts == (200,) for one in sent)
    assert [body for _, _, body in there.got] == [dash.envelope(state) for state in grown(life)]
    assert {(path, headers["X-Merchant"]) for path, headers, _ in there.got} == {("/dash", "push-secret")}


async def test_kiriminaja_sends_with_its_documented_headers() -> None:
    life = with_word(kiriminaja_express, "200")
    async with door() as there:
        await send(webhooks(grown(life)), there.receiver, at_once=1)
    assert [body["method"] for _, _, body in there.got] == [move.push for move in life.moves if move.push]
    for _, headers, _ in there.got:
        assert headers["Authorization"] == "Bearer push-token"
        assert headers["User-Agent"] == "KiriminAja-Push-Services"
        assert headers["Content-Type"] == headers["Accept"] == "application/json"


async def test_dash_tries_three_times() -> None:
    life = so_far(with_word(dash_logistic, "COMPLETED"), 1)
    async with door(refuse=2, status=401) as there:
        (sent,) = await send(webhooks([life]), there.receiver, time_scale=0.001)
    assert (sent.attempts, sent.delivered, len(there.got)) == ((401, 401, 200), True, 3)
    assert unheard((), [sent]) == frozenset()


async def test_dash_drops_what_was_refused_three_times() -> None:
    life = so_far(with_word(dash_logistic, "COMPLETED"), 2)
    async with door(refuse=9) as there:
        sent = await send(webhooks([life]), there.receiver, time_scale=0.001)
    assert [(one.attempts, one.delivered) for one in sent] == [((503, 503, 503), False)]
    assert unheard((), sent) == {Told(life.reference, 2)}


async def test_attempts_are_a_scaled_minute_apart_and_hold_up_nobody() -> None:
    life = with_word(dash_logistic, "COMPLETED")
    loop = asyncio.get_running_loop()
    async with door(refuse=1) as there:
        begin = loop.time()
        sent = await send(webhooks(grown(life)), there.receiver, time_scale=0.005, at_once=1)
        took = loop.time() - begin
    moves = len(life.moves)
    assert all(one.attempts == (503, 200) for one in sent)
    assert [body["status"] for _, _, body in there.got[:moves]] == [move.word for move in life.moves]
    assert took >= 60 * 0.005


async def test_kiriminaja_tries_once() -> None:
    life = with_word(kiriminaja_express, "200")
    async with door(refuse=1) as there:
        sent = await send(webhooks([life]), there.receiver)
    assert [one.attempts for one in sent] == [(503,)]


async def test_nobody_there() -> None:
    async with door() as there:
        receiver = there.receiver
    sent = await send(webhooks([so_far(many()[0], 1)]), receiver, time_scale=0.0)
    assert [one.attempts for one in sent] == [(None, None, None)]


def test_bulk_bodies_name_each_parcel_once_and_keep_its_order() -> None:
    simulator = Simulator(ACCOUNT)
    simulator.add(*of("kiriminaja", "express"))
    sent = webhooks(simulator.grow_all(), bulk=10)
    assert max(len(webhook.tells) for webhook in sent) == 10
    moves: dict[str, list[int]] = {}
    for webhook in sent:
        assert len({told.reference for told in webhook.tells}) == len(webhook.tells)
        for told in webhook.tells:
            moves.setdefault(told.reference, []).append(told.move)
    assert all(told == sorted(set(told)) for told in moves.values())


class TestMischief:
    sent = webhooks(state for life in of("dash", "logistic") for state in grown(life))

    def test_none(self) -> None:
        assert mangle(self.sent, Mischief()) == mangle(self.sent, Mischief(seed=9))
        assert mangle(self.sent, Mischief()).kept == self.sent

    def test_drop(self) -> None:
        mangled = mangle(self.sent, Mischief(1, drop=0.5))
        assert mangled == mangle(self.sent, Mischief(1, drop=0.5))
        assert set(mangled.kept).isdisjoint(mangled.dropped)
        assert len(mangled.kept) + len(mangled.dropped) == len(self.sent)
        assert 0.4 < len(mangled.dropped) / len(self.sent) < 0.6
        assert unheard(mangled.dropped, ()) == {told for webhook in mangled.dropped for told in webhook.tells}

    def test_drop_all_or_all_but_the_first(self) -> None:
        assert mangle(self.sent, Mischief(drop=1.0)).kept == ()
        firsts = tuple(webhook for webhook in self.sent if webhook.tells[0].move == 1)
        assert mangle(self.sent, Mischief(drop=1.0, spare_first=True)).kept == firsts

    def test_duplicate(self) -> None:
        mangled = mangle(self.sent, Mischief(duplicate=1.0))
        assert mangled.kept == tuple(webhook for webhook in self.sent for _ in range(2))

    def test_shuffle(self) -> None:
        mangled = mangle(self.sent, Mischief(3, shuffle=1.0))
        assert mangled.kept != self.sent
        assert sorted(webhook.body for webhook in mangled.kept) == sorted(webhook.body for webhook in self.sent)
