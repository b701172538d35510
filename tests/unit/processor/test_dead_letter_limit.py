"""When dead letters are beyond the limit, and when they are not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.errors import DeadLetterLimitError
from processor.core.reading import Reading, Unreadable, read
from processor.protocol.dead_letter_limit import NOBODY, DeadLetterLimit, Windows, beyond_limit, last_of_others, slid
from schemas.records import RawRecord, UnreadableError
from schemas.vocabulary import DeadLetterReason
from tests.property.driving import zone_of

SIZE = 1_000
GOOD = b'{"deliveryID":"DE-1","status":"FAILED"}'


def record(offset: int, webhook: str | None = None, courier: str = "dash", value: bytes = b"{") -> RawRecord:
    named = [("webhook-id", webhook.encode())] if webhook else []
    return RawRecord(0, offset, b"k", value, (("courier", courier.encode()), *named), 0)


def readings(records: Sequence[RawRecord]) -> list[Reading]:
    return [read(each, zone_of, 1) for each in records]


def batch(good: int, bad: int, courier: str = "dash", start: int = 0) -> list[Reading]:
    """Webhooks of one record each."""
    found = readings([record(start + n, courier=courier, value=GOOD) for n in range(good)])
    error = UnreadableError(DeadLetterReason.INVALID_JSON, "")
    return found + [Unreadable(record(start + good + n, courier=courier), error) for n in range(bad)]


def after(*batches: list[Reading]) -> Windows:
    windows: Windows = {}
    for each in batches:
        windows = slid(windows, each, SIZE)
    return windows


def test_one_body_is_one_webhook_however_many_items_it_has() -> None:
    items = readings([record(n, "w1") for n in range(14_000)])
    windows = after(items[:4_000], items[4_000:8_000], items[8_000:])
    assert windows["dash"] == {b"w1": True}
    assert not beyond_limit(windows, SIZE, 0.5)


def test_a_webhook_with_one_good_item_is_not_dead() -> None:
    windows = after(readings([record(0, "w1"), record(1, "w1", value=GOOD)]), readings([record(2, "w1")]))
    assert windows["dash"] == {b"w1": False}


@pytest.mark.parametrize(
    ("batches", "floods"),
    [
        ([batch(0, 999)], False),
        ([batch(500, 500)], False),
        ([batch(499, 501)], True),
        ([batch(0, 5_000)], True),
        ([batch(0, 1, start=n) for n in range(1_000)], True),
        ([batch(0, 1_000), batch(500, 0, start=1_000)], False),
        ([batch(0, 1_000), batch(400, 0, start=1_000)], True),
    ],
)
def test_more_than_the_share_of_a_full_window_is_a_flood(batches: list[list[Reading]], floods: bool) -> None:
    windows = after(*batches)
    assert len(windows["dash"]) <= SIZE
    assert beyond_limit(windows, SIZE, 0.5) == (frozenset({"dash"}) if floods else frozenset())


def test_couriers_are_judged_apart() -> None:
    windows = after(batch(0, 1_500, "kiriminaja"), batch(1_500, 0, "dash", start=1_500))
    assert beyond_limit(windows, SIZE, 0.5) == {"kiriminaja"}
    windows = after(batch(0, 600, "kiriminaja"), batch(0, 600, "dash", start=1_500))
    assert not beyond_limit(windows, SIZE, 0.5)


def test_records_of_nobody_are_judged_together() -> None:
    nameless = readings([RawRecord(0, n, None, None, (("courier", f"c{n}".encode()),), 0) for n in range(1_000)])
    assert beyond_limit(after(nameless), SIZE, 0.5) == {NOBODY}


def test_one_never_holds_back() -> None:
    assert not beyond_limit(after(batch(0, 5_000)), SIZE, 1.0)


def test_nought_holds_back_at_the_first_in_a_full_window() -> None:
    assert beyond_limit(after(batch(4_999, 1)), SIZE, 0.0)
    assert not beyond_limit(after(batch(5_000, 0)), SIZE, 0.0)


def test_what_of_others_stands_behind() -> None:
    records = [record(5), record(6, courier="kiriminaja"), record(7), record(8, courier="nobody"), record(9)]
    assert last_of_others(records, {"dash"}) == 8
    assert last_of_others(records, {"dash", NOBODY}) == 6
    assert last_of_others(records, {"dash", NOBODY, "kiriminaja"}) is None


def test_a_flood_is_held_back_until_others_stand_behind_it() -> None:
    """What is judged is kept only where it is stored: a batch that was held back is judged anew."""
    limit = DeadLetterLimit(SIZE, 0.5)
    spoilt = batch(0, 1_000)
    for _ in range(2):
        with pytest.raises(DeadLetterLimitError, match="of the newest 1000 webhooks of dash more") as raised:
            limit.judge(spoilt)
        assert raised.value.couriers == {"dash"}
    limit.hold()
    assert list(limit.parts(spoilt)) == [spoilt]
    limit.let_pass(600)
    assert [len(part) for part in limit.parts(spoilt)] == [600, 400]
    limit.let_pass(1_000)
    assert list(limit.parts(spoilt)) == [spoilt]
    assert not limit.stored(limit.judge(spoilt)), "dash is beyond it still"
    assert limit.stored(limit.judge(batch(900, 0, start=1_000)))
    assert not limit.stored(limit.judge(batch(1, 0, start=1_900))), "it is said once"


@given(
    st.lists(st.tuples(st.sampled_from(["dash", "kiriminaja"]), st.sampled_from("abcdef"), st.booleans()), max_size=30),
    st.integers(0, 30),
)
def test_where_a_batch_ends_does_not_show(said: list[tuple[str, str, bool]], cut: int) -> None:
    bodies = {"dash": GOOD, "kiriminaja": b'{"method":"shipped_packages","data":[{"order_id":"X"}]}'}
    found = readings(
        [record(n, name, courier, bodies[courier] if good else b"{") for n, (courier, name, good) in enumerate(said)]
    )
    one_by_one: Windows = {}
    for each in found:
        one_by_one = slid(one_by_one, [each], 3)
    both = slid(slid({}, found[:cut], 3), found[cut:], 3)
    assert {courier: list(window) for courier, window in both.items() if window} == {
        courier: list(window) for courier, window in one_by_one.items()
    }
