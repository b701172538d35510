"""`waybill up`: everything on this machine, the bundled deliveries through the door, each event as it is emitted."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp

from cli.demo.audience import Audience, audience
from cli.demo.children import children, watch
from cli.demo.healing import ask_about, simulated_courier
from cli.demo.live import Live
from cli.demo.scenario import Play, Webhook, differences, load_stories, play
from cli.demo.surroundings import Surroundings, addresses, surroundings
from cli.demo.traffic import Sender
from cli.exit_codes import DONE, FAILED
from cli.terminal.output import complain
from devstack import DevstackError, Stack, for_run, progress, services
from devstack.couriers.traffic import Traffic
from devstack.ports import free_ports, is_free
from runtime import migrations, topics
from runtime.errors import SetupError
from runtime.logging import configure_logging
from runtime.settings import Settings
from schemas.partitioning import uneven
from schemas.topics import Topic

DATA: Final = Path(".waybill")
LOGS: Final = DATA / "logs"

PLAY_SECONDS: Final = 14.0
"""How long the stories take where a person watches."""

ONCE_SECONDS: Final = 3.0
"""How long they take where nobody does."""

POST_SECONDS: Final = 30.0
"""How long a webhook is posted again while the door says 503, as a courier would."""

RETRY_SECONDS: Final = 0.5

ARRIVAL_SECONDS: Final = 45.0
"""How long the last events may take. Under a second when all is well."""

DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
RUN_DIGITS: Final = 5
"""36⁵ seconds are two years: no other run of that time has the same name."""


def run(*, once: bool, samples: bool, traffic: int = 0) -> int:
    """Run everything until Ctrl-C, or with `once` until every expected event was seen. Return the exit code.

    `traffic`: how many make-believe webhooks a second come behind the samples, until Ctrl-C.

    Raises:
        SettingsError: with a line for each wrong value.
        SetupError: something does not start, or ends by itself.

    """
    environ = addresses(os.environ)
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "up.log").open("w") as log, asyncio.Runner() as runner:
        configure_logging("warning", "json", log)
        main = _up(environ, once=once, samples=samples, traffic=traffic)
        return runner.run(_until_signal(main, interrupted=FAILED if once else DONE))


async def _until_signal(main: Coroutine[Any, Any, int], interrupted: int) -> int:
    """Cancel the coroutine at the first SIGINT or SIGTERM; at the second leave at once: the guards end the rest."""
    task = asyncio.create_task(main)
    signalled = asyncio.Event()

    def on_signal() -> None:
        if signalled.is_set():
            os._exit(FAILED)
        signalled.set()
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        return await task
    except asyncio.CancelledError:
        return interrupted
    except DevstackError as error:
        if signalled.is_set():  # Ctrl-C reaches the tools that look around, too: they fail with us
            return interrupted
        complain(*str(error).split("\n"))
        return FAILED


async def _up(environ: Mapping[str, str], *, once: bool, samples: bool, traffic: int) -> int:
    live = Live()
    async with AsyncExitStack() as opened:
        with progress() as say:
            stack = await opened.enter_async_context(services(for_run(environ), DATA, say))
            around = _surroundings(environ, stack)
            await _prepare(around.settings, say)
            say("Starting console, processor and ingest")
            viewers = await opened.enter_async_context(audience(around.settings, live))
            running = await opened.enter_async_context(children(around.admins, around.environ, LOGS))
            opened.callback(live.line, "Stopping.")
        live.places(around, stack.lines, LOGS)

        async def perform() -> int:
            now, run_id = datetime.now(UTC), _run_id()
            code = DONE
            if samples:
                scenario = play(load_stories(), run_id, now, around.settings.account)
                await _play(scenario, around, live, ONCE_SECONDS if once else PLAY_SECONDS)
                await _heal(scenario, around, viewers, live)
                code = await _judge(scenario, viewers, live)
            if not once:
                live.invitation(around, run_id, now)
                viewers.relax()
                await (_send_traffic(around, live, traffic) if traffic else asyncio.Event().wait())
            return code

        return await _while_all_is_well(perform(), viewers.follow(), watch(running))


def _surroundings(environ: Mapping[str, str], stack: Stack) -> Surroundings:
    return surroundings(
        environ,
        kafka_bootstrap_servers=stack.kafka_bootstrap_servers,
        database_url=stack.database_url,
        is_free=is_free,
        free_port=lambda: free_ports(1)[0],
    )


async def _prepare(settings: Settings, say: Callable[[str], None]) -> None:
    """Migrate and make the topics. Raises SetupError, for topics of another partition count too."""
    say("PostgreSQL: migrating")
    await migrations.migrate(settings, after=True)
    say("Kafka: making the topics")
    left = (await topics.apply(settings)).left
    counts = {each.topic: int(each.found or 0) for each in left if each.property == topics.PARTITIONS}
    if fault := other_counts(settings, counts):
        raise SetupError(fault)


def other_counts(settings: Settings, counts: Mapping[str, int]) -> str | None:
    """Say what to do about topics that have other partition counts than is set, if some have; `counts` are theirs."""
    if not counts:
        return None
    found = {settings.topic(each): counts.get(settings.topic(each), settings.topic_partitions) for each in Topic}
    most, *others = sorted(set(found.values()), reverse=True)
    if not others:
        return f"the topics have {most} partitions: set WAYBILL_TOPIC_PARTITIONS={most}, or another prefix"
    raw = settings.topic(Topic.RAW)
    listed = ", ".join(f"{name} {count}" for name, count in found.items())
    return uneven(raw, found.pop(raw), found) or (
        f"the topics have different partition counts ({listed}): give every topic {most}, or set another prefix"
    )


async def _play(scenario: Play, around: Surroundings, live: Live, seconds: float) -> None:
    """Post the webhooks one after the other, evenly over so many seconds."""
    live.head(len(scenario.webhooks), len(scenario.shipments))
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        for place, webhook in enumerate(scenario.webhooks):
            await asyncio.sleep(began + seconds * place / len(scenario.webhooks) - time.monotonic())
            if webhook.note:
                live.note(webhook.about, webhook.note)
            await _post(session, webhook, around)


async def _post(session: aiohttp.ClientSession, webhook: Webhook, around: Surroundings) -> None:
    courier = webhook.story.courier
    url, headers = f"{around.door}/webhooks/{courier}", around.headers(courier)
    give_up = time.monotonic() + POST_SECONDS
    while True:
        async with session.post(url, data=webhook.body, headers=headers) as answer:
            if answer.status == HTTPStatus.OK:
                return
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > give_up:
                raise SetupError(f"the door answers {answer.status} to {courier}: {await answer.text()}")
        await asyncio.sleep(RETRY_SECONDS)


async def _heal(scenario: Play, around: Surroundings, viewers: Audience, live: Live) -> None:
    """Ask a simulated courier about the shipments whose webhooks are lost."""
    await viewers.wait_for({healing.shipment_id: healing.told for healing in scenario.healings}, ARRIVAL_SECONDS)
    async with simulated_courier(scenario.healings) as settings:
        for healing in scenario.healings:
            assert healing.story.asked
            live.note(healing.shipment_id, healing.story.asked.note)
            await ask_about(healing, around.environ, settings)


async def _judge(scenario: Play, viewers: Audience, live: Live) -> int:
    """Wait for the last events, write the summary, return the exit code."""
    await viewers.wait_for(scenario.expected, ARRIVAL_SECONDS)
    found = differences(scenario.expected, viewers.seen)
    live.summary(scenario, viewers.seen, found)
    return FAILED if found else DONE


async def _send_traffic(around: Surroundings, live: Live, rate: int) -> None:
    """Send make-believe webhooks until cancelled; tell what became of them."""
    live.line(f"Make-believe traffic: {rate} webhooks a second, some late, some twice.", "bold")
    headers = {courier: around.headers(courier) for courier in around.secrets}
    sender = Sender(around.door, headers, Traffic(int(time.time()), rate), live.line)
    try:
        await sender.run(rate)
    finally:
        became = ", ".join(f"{count} {what}" for what, count in sorted(sender.counts.items()))
        live.line(f"Traffic: {became or 'nothing was sent'}.")


async def _while_all_is_well(main: Coroutine[Any, Any, int], *others: Coroutine[Any, Any, None]) -> int:
    """Run all side by side until the first is done, or one of the others raises."""
    task = asyncio.create_task(main)
    tasks = [task, *(asyncio.create_task(other) for other in others)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for each in done - {task}:
        each.result()
    return task.result()


def _run_id() -> str:
    number = int(time.time())
    return "".join(DIGITS[number // len(DIGITS) ** place % len(DIGITS)] for place in reversed(range(RUN_DIGITS)))
