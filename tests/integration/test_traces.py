"""A trace on the real broker and database: from the door to the event, and when its record is read again."""

from typing import Any

from runtime.kafka_records import raw_record
from runtime.settings import load_settings
from schemas.records import reread_headers
from schemas.topics import Topic
from schemas.traces import TRACEPARENT, traceparent
from tests.integration.inside import open_inside, processing
from tests.integration.system import Raw, dash
from tests.integration.test_ingest import connected, publishing
from tests.spans import in_memory, links
from tests.unit.ingest.doors import DASH, SETTINGS, running_door
from tests.waiting import until


def traces_of(records: list[Any]) -> list[bytes | None]:
    return [dict(record.headers).get(TRACEPARENT) for record in records]


async def test_a_webhook_is_traced_to_its_event_and_when_it_is_read_again(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_inside(kafka_bootstrap_servers, database_url, topic_prefix, 1)
    untraced = load_settings(SETTINGS | system.environ)
    settings = load_settings(SETTINGS | system.environ | {"WAYBILL_TRACE_RATIO": "1"})
    with in_memory() as made:
        async with publishing(settings) as publisher:
            await until(lambda: connected(publisher))
            async with running_door(publisher, settings, spans=made.maker) as door:
                assert (await door.post("/webhooks/dash", dash("DE-1", "PREPARING", 0), DASH)).status == 200
            async with running_door(publisher, untraced, spans=made.maker) as door:
                assert (await door.post("/webhooks/dash", dash("DE-1", "VERIFIED", 1), DASH)).status == 200
        async with processing(system, made.maker):
            await until(system.caught_up)
            root = raw_record((await system.read(Topic.RAW))[0])
            again = Raw(root.key or b"", root.value or b"", reread_headers(root, "job/0:0"), root.timestamp_ms)
            await system.append([again])
            await until(system.caught_up)
    webhook, first, second = made.spans
    assert webhook.context is not None
    header = traceparent(webhook.context.trace_id, webhook.context.span_id).encode()
    assert traces_of(await system.read(Topic.RAW)) == [header, None, header]
    assert traces_of(await system.read(Topic.EVENTS)) == [header, None]
    assert {*traces_of(await system.read(Topic.STATE))} == {None}
    assert links(first) == links(second) == [(webhook.context.trace_id, webhook.context.span_id)]
    assert "DE-1" not in "".join(span.to_json() for span in made.spans)
