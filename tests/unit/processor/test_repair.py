"""What `waybill recover` decides to do, for each reason and for several at once."""

import msgspec

from processor.core.cursor import Committed, Resume, Stream, mark
from processor.protocol.claims import HaltReason, Log, PartitionState, decide
from processor.protocol.repair import Repair, repair
from tests.unit.processor.test_claims import CURSOR, SIGHT, cursor, seen

NOW = 1_000


def mended(sight: PartitionState) -> Repair:
    found = repair(sight, NOW)
    assert found is not None
    return found


def test_a_partition_that_can_go_on_needs_no_mending() -> None:
    assert repair(SIGHT, NOW) is None


def test_a_restored_database_derives_what_is_published() -> None:
    found = mended(seen(committed=Committed(110, mark(5))))
    assert found.reason is HaltReason.RESTORED
    assert found.publish_from is None
    wanted = cursor(recovery=NOW, recover_until=110, emitted=100)
    assert found.cursor == wanted


def test_published_records_that_the_log_has_lost_are_not_waited_for() -> None:
    found = mended(seen(committed=Committed(150, mark(5))))
    assert found.cursor.recover_until == 120
    assert found.cursor.incarnation == NOW


def test_retention_gives_up_what_is_gone_and_publishes_what_is_stored() -> None:
    found = mended(seen(log=Log(107, 120), found=None))
    assert found.lost == 7
    assert found.publish_from == 90
    assert (found.cursor.next_offset, found.cursor.emitted, found.cursor.last) == (107, 107, None)
    assert found.cursor.began_at == 107
    assert found.cursor.incarnation == CURSOR.incarnation
    assert found.cursor.recover_until is None


def test_a_gap_gives_up_what_is_gone_and_goes_on_behind_it() -> None:
    found = mended(seen(gap=104))
    assert (found.reason, found.lost, found.publish_from) == (HaltReason.GAP, 4, 90)
    assert (found.cursor.next_offset, found.cursor.emitted, found.cursor.last) == (104, 104, None)


def test_a_topic_made_anew_begins_an_incarnation_at_its_start() -> None:
    found = mended(seen(log=Log(3, 50), committed=None))
    assert found.publish_from == 80
    assert found.cursor == cursor(incarnation=NOW, recovery=NOW, next_offset=3, emitted=3, last=None, began_at=3)


def test_a_database_older_than_a_topic_made_anew_derives_that_topic() -> None:
    found = mended(seen(found=b"other", committed=Committed(30, mark(6))))
    assert (found.cursor.next_offset, found.cursor.recover_until) == (0, 30)
    assert found.cursor.incarnation == found.cursor.recovery == NOW
    assert found.publish_from is None


def test_other_names_are_adopted() -> None:
    found = mended(seen(stream=Stream("raw", 6, "other")))
    assert (found.cursor.partitions, found.cursor.consumer_group) == (6, "other")
    assert found.cursor.next_offset == CURSOR.next_offset
    assert found.cursor.last == CURSOR.last
    assert found.publish_from == 90


def test_an_interrupted_recovery_is_gone_on_with_as_it_is() -> None:
    interrupted = cursor(recover_until=110)
    assert mended(seen(cursor=interrupted)).cursor == interrupted


def test_numbers_only_grow_whatever_the_clock_says() -> None:
    assert mended(seen(committed=Committed(3, mark(2_000)))).cursor.recovery == 2_001


def test_what_is_mended_goes_on() -> None:
    for sight in (
        seen(committed=Committed(110, mark(5))),
        seen(log=Log(107, 120), found=None),
        seen(gap=104),
        seen(log=Log(3, 50)),
        seen(found=b"other"),
        seen(stream=Stream("raw", 6, "other")),
    ):
        after = msgspec.structs.replace(mended(sight).cursor, recover_until=None)
        found = sight.found if after.last else None
        again = msgspec.structs.replace(sight, cursor=after, found=found, gap=None)
        assert decide(again) == Resume(after.emitted)
        assert mended(sight).steps
