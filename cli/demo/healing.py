"""The part of `waybill up` in which a courier is asked: a simulated one knows what no webhook told."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from cli.demo.scenario import Healing
from devstack.couriers.kiriminaja import scanned
from devstack.couriers.lives import Life
from devstack.couriers.server import serving
from devstack.couriers.simulator import Account, Simulator
from runtime.errors import SetupError

ASK_SECONDS: Final = 60.0
"""How long the asking may take. A few seconds."""


def life_of(healing: Healing) -> Life:
    """Return the parcel's life as its courier knows it."""
    return scanned(healing.reference, [(move.at, move.code, move.text) for move in healing.moves])


@asynccontextmanager
async def simulated_courier(healings: Sequence[Healing]) -> AsyncIterator[Mapping[str, str]]:
    """Run a courier that knows these shipments. Gives the settings by which it is asked."""
    account = Account(secrets.token_urlsafe(), secrets.token_urlsafe(), secrets.token_urlsafe())
    simulator = Simulator(account)
    for healing in healings:
        life = life_of(healing)
        simulator.add(life, moves=len(life.moves))
    async with serving(simulator) as url:
        yield account.settings(url)


async def ask_about(healing: Healing, environ: Mapping[str, str], settings: Mapping[str, str]) -> None:
    """Run `waybill reconcile` for one shipment. The simulated courier's settings take the place of the user's own.

    Raises:
        SetupError: it fails. The text holds what it complained of.

    """
    files = {f"{name}_FILE" for name in settings}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "reconcile", "--shipment", healing.shipment_id),
        *("--courier", healing.story.courier),
        env={name: value for name, value in {**os.environ, **environ, **settings}.items() if name not in files},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complained = await asyncio.wait_for(process.communicate(), ASK_SECONDS)
    except TimeoutError as error:
        raise SetupError(f"waybill reconcile takes longer than {ASK_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SetupError(f"waybill reconcile fails:\n{complained.decode()}")
