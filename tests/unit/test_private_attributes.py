"""What is reached into of libraries, by name: a new version of them is taken only when all of it is still there."""

import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import aiokafka.client
import asyncpg
import pytest
from aiohttp import ClientSession, web
from aiohttp.base_protocol import BaseProtocol
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator, NoGroupCoordinator
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.record.default_records import _DefaultRecordBatchPy

ROOT: Final = Path(__file__).parents[2]

REACHED: Final[dict[type[Any], tuple[str, ...]]] = {
    AIOKafkaAdminClient: ("_client", "_request_timeout_ms", "_send_request", "_send_to_controller"),
    AIOKafkaClient: (
        *("_conns", "_get_conn", "_md_synchronizer", "_metadata_update", "_retry_backoff"),
        *("_sasl_mechanism", "_sasl_plain_username", "_security_protocol"),
    ),
    AIOKafkaConnection: ("_send_sasl_token",),
    AIOKafkaConsumer: ("_client", "_closed", "_coordinator", "_fetcher", "_session_timeout_ms", "_subscription"),
    AIOKafkaProducer: ("_closed", "_sender", "_txn_manager"),
    Fetcher: ("_fetch_task", "_pending_tasks"),
    GroupCoordinator: ("_commit_refresh_task", "_coordination_task", "_heartbeat_task"),
    MessageBatch: ("_drain_waiter",),
    NoGroupCoordinator: ("_reset_committed_task",),
    Sender: ("sender_task",),
    TransactionManager: ("_transaction_waiter",),
    _DefaultRecordBatchPy: ("_buffer", "_maybe_uncompress"),
    ClientSession: ("_retry_connection",),
    BaseProtocol: ("_drain_helper",),
    web.BaseRequest: ("_prepare_hook",),
    web.RequestHandler: ("_force_close", "_waiter"),
}

OTHERS: Final = {"_base", "_exit", "_replace"}
"""A module of asyncpg; and what is public in spite of its name: of `os`, and of named tuples."""


@pytest.mark.parametrize(("library", "known"), [("aiokafka", "0.14."), ("aiohttp", "3.14.")])
def test_the_versions_are_those_that_were_looked_at(library: str, known: str) -> None:
    assert version(library).startswith(known)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, names in REACHED.items() for name in names],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_what_is_reached_into_is_there(owner: type[Any], name: str) -> None:
    assert re.search(rf"\b(self\.|def |\"){name}\b", inspect.getsource(owner))


def test_asyncpg_has_the_error_of_a_value_that_it_cannot_write() -> None:
    assert issubclass(asyncpg.exceptions._base.DataError, asyncpg.InterfaceError)


def test_clients_open_connections_by_the_name_that_is_replaced() -> None:
    assert "await create_conn(" in inspect.getsource(aiokafka.client)


def test_nothing_else_is_reached_into() -> None:
    named = {name for names in REACHED.values() for name in names} | OTHERS
    found = {
        f"{file.relative_to(ROOT)}: {name}"
        for package in ("ingest", "operators", "processor", "reconcile", "runtime")
        for file in (ROOT / package).rglob("*.py")
        for owner, name in re.findall(r"([\w)]+)\.(_[a-z]\w*)", file.read_text())
        if owner not in {"self", "cls"} and name not in named
    }
    assert found == set()
