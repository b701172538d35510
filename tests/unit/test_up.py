"""What `waybill up` says about topics that are there with other partition counts."""

import re

import pytest

from cli.demo.up import other_counts
from runtime.settings import load_settings
from schemas.topics import Topic

ALL = [str(topic) for topic in Topic]
OTHERS = [name for name in ALL if name != Topic.RAW]


def said(partitions: int, **counts: int) -> str | None:
    """Return what is said where so many are set, and the topics named (`raw`, `others`) have these."""
    found = {Topic.RAW: counts.get("raw", partitions), **dict.fromkeys(OTHERS, counts.get("others", partitions))}
    differing = {str(name): count for name, count in found.items() if count != partitions}
    return other_counts(load_settings({"WAYBILL_TOPIC_PARTITIONS": str(partitions)}), differing)


def test_nothing_is_said_where_all_is_as_set() -> None:
    assert said(4) is None


def test_the_setting_is_named_where_all_topics_agree() -> None:
    assert "set WAYBILL_TOPIC_PARTITIONS=6" in (said(4, raw=6, others=6) or "")


@pytest.mark.parametrize(("raw", "others"), [(6, 4), (4, 6)])
def test_nobody_is_sent_in_a_circle(raw: int, others: int) -> None:
    """Whatever is set, the topics must be given as many partitions as the one with most."""
    for partitions in (4, 6, 12):
        text = said(partitions, raw=raw, others=others)
        assert text is not None
        assert "give every topic 6" in text
        assert set(re.findall(r"WAYBILL_TOPIC_PARTITIONS=(\d+)", text)) <= {"6"}
