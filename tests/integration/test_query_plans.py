"""Every statement of processor, reconcile and operators finds its rows by an index, however large the tables are.

A new statement in one of their SQL files needs a line below: its parameters as the code gives them, a batch or a page
of keys being some hundred. One that must read a whole table stands in `EXEMPT`, with the reason.

A processor runs its statements so often that PostgreSQL may plan them once and for all, whatever the parameters: these
generic plans are looked at too.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from operators.doctor.postgres import PRIVILEGES
from processor.core.view import View
from processor.storage.rows import json_text
from runtime import migrations
from runtime.queries import load_queries
from runtime.settings import load_settings
from schemas.couriers import COURIERS
from schemas.vocabulary import Status

ROOT: Final = Path(__file__).parents[2]

ROWS: Final = 200_000
"""Shipments, and as many observations and outputs: enough for the planner to shun reading a whole table."""

BATCH: Final = 300
"""Records, or keys, that one statement is about."""

NOW: Final = datetime.now(UTC)
MONTH_AGO: Final = NOW - timedelta(days=30)
LONG_AGO: Final = NOW - timedelta(days=180)
S: Final = "dash:77"
IDS: Final = [f"dash:{number}" for number in range(BATCH)]
P: Final = 3
PARTS: Final = [P] * BATCH
OFFSETS: Final = list(range(BATCH))
ZEROS: Final = [0] * BATCH
TEXTS: Final = [str(number) for number in range(BATCH)]
OBJECTS: Final = ["{}"] * BATCH
TIMES: Final = [NOW] * BATCH
PAGE: Final = 500
JOB: Final = "job"

SHIPMENTS: Final = json_text(
    [
        dict.fromkeys(View.__struct_fields__, "x")
        | {"shipment_id": name, "final": True, "failed_count": 0, "occurred_at": NOW, "version": 1, "updated_at": NOW}
        for name in IDS
    ]
)

PROCESSOR: Final[dict[str, tuple[Any, ...]]] = {
    # a claim
    "create_cursor": (P, "raw", 12, "group", 0),
    "claim_cursor": (P, 1),
    "look_at_cursor": (P, "raw", 12, "group"),
    "blockers": (1,),
    "sizes_between": (P, 0, ROWS - 300, ROWS, 2001),
    "outputs_between": (P, 0, ROWS - 300, ROWS),
    "note_emitted": (P, 0, ROWS),
    # a batch
    "now": (),
    "load_rows": (IDS,),
    "load_histories": (IDS,),
    "known_commands": (TEXTS,),
    "written_decisions": (TEXTS,),
    "roots": (PARTS, OFFSETS),
    "plain_shipments": (IDS,),
    "advance_cursor": (P, 0, ROWS, ROWS + 1, ROWS, 0, b"", 1, 0),
    "upsert_shipments": (SHIPMENTS,),
    "observations_of": (IDS,),
    "rewrite_observations": (ZEROS, PARTS, OFFSETS, [b""] * BATCH, [b""] * BATCH),
    "events_of": (IDS,),
    "rewrite_outputs": (ZEROS, PARTS, OFFSETS, ZEROS, [b""] * BATCH),
    "mark_erased": (IDS, NOW),
    "mark_retired": (IDS, NOW, "{}"),
    "retire_observations": (IDS, P, 0, ROWS, ROWS),
    "retire_outputs": (IDS, 0, ROWS),
    "taken_in": (PARTS, OFFSETS),
    # health
    "standbys_waited_for": (2.0,),
    "commit_nothing": (),
    # a recovery
    "all_cursors": (),
    "claim_for_recovery": (P, 1),
    "begin_recovery": (P, 0, "raw", 12, "group", 0, 0, 1, 1, 0, 0, b"", 0),
    "delete_cursors": ([P],),
    "hold_cursor": (P, 0),
    "finish_recovery": (P, 0, 0),
    "page_of_shipments": (S, PAGE),
    "newest_observations": (IDS,),
    "delete_outputs": (P, 0, ROWS - 300, ROWS),
    "set_versions": (IDS, OFFSETS),
}

OTHERS: Final[dict[str, tuple[Any, ...]]] = {
    # counts
    "count_open_letters": (2000,),
    "newest_anomalies": (500,),
    "silent_by_courier": (timedelta(hours=6), 50_000),
    "log_deed": ("ani", "command", "{}"),
    "log_decisions": (["ani"], "command", ["{}"]),
    "find_shipment": (S, 20),
    "page_of_log": (MONTH_AGO, "ani", PAGE, NOW, 5),
    "page_of_log_of_shipment": (None, None, PAGE, NOW, 5, S),
    # dead letters
    "page_of_dead_letters": (NOW, 0, P, 5, PAGE),
    "page_of_selected_letters": (NOW, 0, P, 5, PAGE, ["misrouted"], ["dash"], MONTH_AGO),
    "dead_letters_at": ([0], PARTS, OFFSETS),
    "bodies_of_dead_letters": (ZEROS, PARTS, OFFSETS),
    "incarnations": (),
    "decisions_on_dead_letters": (ZEROS, PARTS, OFFSETS),
    "rereadings": (TEXTS,),
    "decide_dead_letters": (ZEROS, PARTS, OFFSETS, "dropped", TEXTS, "ani", "why", NOW),
    "outcomes": (TEXTS,),
    "begin_redrive": (JOB, "{}", "ani", NOW),
    "queue_redrive": (JOB, "{}", "ani", NOW),
    "roots_redriven": (JOB,),
    "redrive_positions": (JOB, PARTS, OFFSETS, OFFSETS, OFFSETS),
    "end_redrive": (JOB, "done", None, NOW),
    "forget_dead_letters": (ZEROS, PARTS, OFFSETS),
    # decisions
    "shipment_to_decide": (S,),
    "event_of_record": (P, 15),
    "stored_of_shipment": (S,),
    "page_of_anomalies": (MONTH_AGO, NOW, 0, P, 5, 0, PAGE, ["illegal_transition"], ["dash"]),
    "anomalies_of_shipment": (S, MONTH_AGO, NOW, 0, P, 5, 0, PAGE),
    # retention
    "silent_shipments": (LONG_AGO, LONG_AGO - timedelta(days=5), S, PAGE),
    "count_silent": (LONG_AGO,),
    "silent_unfinished": (LONG_AGO, LONG_AGO - timedelta(days=5), S, PAGE),
    "count_silent_unfinished": (LONG_AGO,),
    "count_retired": (IDS,),
    "count_old_dead_letters": ([P], [MONTH_AGO], LONG_AGO),
    "count_old_jobs": (LONG_AGO,),
    "delete_old_dead_letters": ([P], [MONTH_AGO], LONG_AGO, PAGE),
    "delete_old_letter_decisions": (LONG_AGO, PAGE),
    "page_of_observed": (S, PAGE),
    "old_strays": (IDS, LONG_AGO),
    "count_strays": (IDS,),
    "hold_cursors": ([P],),
    "delete_stray_observations": (S, LONG_AGO),
    "delete_stray_anomalies": (S, LONG_AGO),
    "end_of_commands": ("", PAGE),
    "count_commands": ("", JOB, LONG_AGO),
    "delete_old_commands": ("", JOB, LONG_AGO),
    "delete_old_jobs": (LONG_AGO, PAGE),
    # replays
    "applied_offsets": (),
    "roots_of_shipment": (S,),
    "begin_replay": (JOB, "reprocess", "{}", None, None, "ani", NOW),
    "begin_positions": (JOB, PARTS, OFFSETS, OFFSETS),
    "replay_job": (JOB,),
    "replay_jobs": (PAGE,),
    "replay_positions": ([JOB],),
    "replay_status": (JOB,),
    "advance_replay": (JOB, NOW, P, 1, 1, 1),
    "place_replay": (JOB, NOW, P, 1, 1),
    "move_replay": (JOB, "paused", None, NOW, ["running"]),
    "background_jobs": (PAGE,),
    "resume_in_background": (JOB, NOW, ["paused"]),
    "take_replay": (JOB,),
    "taken_replays": ([JOB],),
    "replay_outcomes": (JOB,),
    "incarnations_of_outputs": (P,),
    "stored_page": (P, 0, 15, 0, ROWS, PAGE),
    "stored_events_of_shipment": (S, P),
    # audit
    "audit_cursor": (P,),
    "audit_rows": (IDS,),
    "audit_observations": (IDS,),
    "audit_events": (IDS,),
    "audit_tombstones": (P, 0, ROWS - 100),
    "audit_batches": (P, 0, OFFSETS, TIMES, 4000),
    "audit_counts": ([P],),
    "audit_dead_letters": (P,),
    "audit_elsewhere": (P, 0, OFFSETS, S),
    "audit_refused": (P, 0, 1000, 2000),
    "audit_holes": (P, 0, 1000, 2000),
    "audit_standing": (IDS,),
    "age_of_unpublished": (P, 0, ROWS - 100),
    # looking
    "sampled_records": (NOW - timedelta(hours=6), NOW, 4_000),
    "dead_letters_by_reason": (NOW - timedelta(hours=6), NOW, 10_000),
    "shipment_row": (S,),
    "observations_of_shipment": (S,),
    "events_of_shipment": (S,),
    "newest_shipments": (["FAILED"], ["dash"], 100, NOW, S),
    "stale_shipments": (list(Status), list(COURIERS), 100, NOW - timedelta(days=3), LONG_AGO, S),
    "newest_readings": (2000,),
    "silent_by_status": (MONTH_AGO, 10_000),
    "failed_by_courier": (MONTH_AGO, list(COURIERS), 10_000),
    # reconcile
    "lock": ("",),
    "is_locked": ("",),
    "is_asking": ("",),
    "waiting_requests": ("dash", None, 100),
    "take_request": (JOB, NOW),
    "end_request": (JOB, NOW, "news", 1, None),
    "forget_requests": (MONTH_AGO, PAGE),
    "count_due": ("dash", None, LONG_AGO, MONTH_AGO, NOW, 10_000),
    "page_of_silent": ("dash", None, MONTH_AGO, LONG_AGO, S, LONG_AGO, PAGE),
    "page_of_rested": ("dash", None, MONTH_AGO, LONG_AGO, S, NOW, PAGE),
    "one_shipment": (S, None),
    "claim": (S, NOW, NOW, NOW, 0, 0),
    "note_outcome": (S, NOW, 0, 0, "news"),
    "known": (S,),
    "forget_final": (NOW, LONG_AGO, S, PAGE),
    "recorded": (LONG_AGO, LONG_AGO + timedelta(days=1)),
    "told_ever": (IDS,),
    # requests
    "asks_of_shipment": (S,),
    "count_waiting_requests": (1000,),
    "request_ask": (JOB, S, "ani", "why", NOW),
    "request": (JOB, S),
    "requests_of_shipment": (S, 5),
    "waiting_too_long": (NOW, 1000),
    # looking at the server
    "settings_of_server": (),
    "session_settings": (["timezone"],),
    "clock_of_server": (),
    "missing_privileges": tuple(map(list, zip(*PRIVILEGES, strict=True))),
}

PARAMETERS: Final = PROCESSOR | OTHERS

FILES: Final = sorted(
    file.relative_to(ROOT)
    for package in ("operators", "processor", "reconcile")
    for file in (ROOT / package).rglob("*.sql")
)
"""Every file of statements."""

EXEMPT: Final[dict[str, str]] = {}
"""Statements that may read a whole table, with the reason."""

UNINDEXED: Final = "select count(*) from shipments where reason = 'x'"

LARGE: Final = {
    "shipments",
    "observations",
    "outputs",
    "operator_log",
    "reconcile_asks",
    "applied_commands",
    "ask_requests",
}

FILL: Final = f"""
insert into shipments (shipment_id, courier, service, courier_ref, order_id, awb, status, phase, final, courier_status,
    failed_count, personal, occurred_at, occurred_at_source, version, updated_at, active_hour, retired_at)
select 'dash:' || i, 'dash', 'logistic', i, 'O-' || i, 'A-' || i,
    case when i % 20 = 0 then 'FAILED' else 'DELIVERED' end, 'x', i % 20 <> 0, 'x', 0,
    '{{}}', now(), 'courier', 1, now() - i * interval '1 day' / 1500,
    date_trunc('hour', now() - i * interval '1 day' / 1500),
    case when i > 0.9 * {ROWS} and i % 20 <> 0 then now() end
from generate_series(1, {ROWS}) as i;
insert into observations (
    shipment_id, raw_partition, raw_offset, outcome, version, kept, reading, said, event, awb, recorded_at
)
select 'dash:' || i, i % 12, i, 'event', 1, true,
    case when i % 2 = 0 then json_build_object('courier', 'dash', 'details', json_build_object('awb', 'A-' || i)) end,
    case when i % 2 = 1 then 'said'::bytea end, case when i % 2 = 1 then 'event'::bytea end,
    case when i % 20 = 1 then 'B-' || i end, now()
from generate_series(1, {ROWS}) as i;
insert into reconcile_asks (shipment_id, asked_at, next_ask_at, fruitless, failures)
select 'dash:' || i, now(), now() + i * interval '1 minute', 0, 0 from generate_series(1, {ROWS}) as i;
insert into ask_requests (request, shipment_id, operator, reason, requested_at, ended_at, outcome)
select 'job-' || i, 'dash:' || i, 'ani', 'why', now(), case when i > 100 then now() - i * interval '1 minute' end,
    case when i > 100 then 'news' end
from generate_series(1, {ROWS}) as i;
insert into operator_log (operator, command, detail, logged_at)
select 'ani', 'shipment set-status', json_build_object('shipment_id', 'dash:' || i), now() - i * interval '1 minute'
from generate_series({ROWS}, 1, -1) as i;
insert into outputs (raw_partition, cause_offset, ordinal, topic, key, value, shipment_id, version, recorded_at)
select i % 12, i, 0, 'shipment.events', 'k'::bytea, 'value'::bytea, 'dash:' || i, 1, now() - i * interval '1 day' / 1500
from generate_series(1, {ROWS}) as i
union all
select i % 12, i, 1, 'shipment.anomalies', 'k'::bytea, 'value'::bytea, 'dash:' || i, null,
    now() - i * interval '1 day' / 1500
from generate_series(1, {ROWS}, 100) as i
union all
select i % 12, i, 2, 'courier.webhooks.raw.dlq', 'k'::bytea, 'value'::bytea, null, null,
    now() - i * interval '1 day' / 1500
from generate_series(1, {ROWS}, 200) as i;
update outputs set
    reason = case when cause_offset % 1000 = 1 then 'misrouted' else 'unknown_shape' end, courier = 'dash',
    replay_of_partition = case when cause_offset % 400 = 1 then raw_partition end,
    replay_of_offset = case when cause_offset % 400 = 1 then cause_offset - 1 end
where topic = 'courier.webhooks.raw.dlq';
insert into applied_commands (command_id, raw_partition, raw_offset, outcome, applied_at)
select 'job-' || i % 2 || '/' || i % 12 || ':' || i, i % 12, i, 'event', now() from generate_series(1, {ROWS}) as i;
insert into replay_jobs (job, mode, selection, status, operator, created_at, updated_at)
select 'job-' || i, 'reprocess', '{{}}', 'done', 'ani', now(), now() from generate_series(0, 1) as i;
insert into cursors (raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, updated_at)
select i, 'raw', 12, 'group', 0, {ROWS}, {ROWS}, now() from generate_series(0, 11) as i;
"""


def test_every_statement_has_its_line_and_a_name_of_its_own() -> None:
    texts = [(ROOT / file).read_text() for file in FILES]
    names = [name for text in texts for name in re.findall(r"^-- name: (\w+)$", text, re.MULTILINE)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert set(names) == PARAMETERS.keys()
    assert PARAMETERS.keys() >= EXEMPT.keys()


async def test_no_statement_reads_a_whole_table(database_url: str) -> None:
    await migrations.migrate(load_settings({"WAYBILL_DATABASE_URL": database_url}))
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(FILL)
        for table in (*LARGE, "replay_jobs"):
            await connection.execute(f"vacuum analyze {table}")
        plans = {
            name: await _plan(connection, name, statement)
            for file in FILES
            for name, statement in load_queries(".".join(file.parent.parts), file.name).items()
            if name in PARAMETERS and name not in EXEMPT
        }
        assert _reading_all(plans) == {}, "these read whole tables"
        generic = {
            name: await _generic_plan(connection, statement, len(PROCESSOR[name]))
            for name, statement in load_queries("processor.storage").items()
            if name not in EXEMPT
        }
        assert _reading_all(generic) == {}, "these do so once they are planned for any parameters"
        for name in ("count_silent", "count_silent_unfinished"):
            kinds = [node["Node Type"] for node in _nodes(plans[name]) if node.get("Relation Name") == "shipments"]
            assert kinds == ["Index Only Scan", "Index Scan"], "whole hours are counted without a look at the rows"
        for name, *told in (
            ("page_of_selected_letters", "reason", "courier"),
            ("page_of_anomalies", "anomaly_kind", "shipment_id"),
        ):
            conditions = [node.get("Index Cond", "") for node in _nodes(plans[name])]
            assert any(all(map(each.__contains__, told)) for each in conditions), "the index tells which to look at"
        counting = await _explain(connection, load_queries("operators.audit")["audit_counts"], list(range(12)))
        read = Counter(node["Relation Name"] for node in _nodes(counting) if "Relation Name" in node)
        assert read == {"cursors": 1, "observations": 1, "outputs": 1}, "all partitions are counted in one reading"
        bare = {
            "custom": await _explain(connection, UNINDEXED),
            "generic": await _generic_plan(connection, UNINDEXED, 0),
        }
        assert _reading_all(bare).keys() == bare.keys(), "it can tell"
    finally:
        await connection.close()


async def _plan(connection: Any, name: str, statement: str) -> dict[str, Any]:
    try:
        return await _explain(connection, statement, *PARAMETERS[name])
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        error.add_note(f"in the statement {name}")
        raise


async def _explain(connection: Any, statement: str, *parameters: Any) -> dict[str, Any]:
    explained = await connection.fetchval(f"explain (format json) {statement}", *parameters)
    plan: dict[str, Any] = msgspec.json.decode(explained)[0]["Plan"]
    return plan


async def _generic_plan(connection: Any, statement: str, parameters: int) -> dict[str, Any]:
    """Return the plan of a statement that PostgreSQL has seen often: one for these parameters as for any others."""
    await connection.execute(f"set plan_cache_mode = force_generic_plan; prepare guarded as {statement}")
    given = ", ".join(["null"] * parameters)
    plan = await _explain(connection, f"execute guarded ({given})" if given else "execute guarded")
    await connection.execute("deallocate guarded; reset plan_cache_mode")
    return plan


def _reading_all(plans: Mapping[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found = {name: [node for node in _nodes(plan) if _reads_all(node)] for name, plan in plans.items()}
    return {name: nodes for name, nodes in found.items() if nodes}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _reads_all(node: dict[str, Any]) -> bool:
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
