"""The part of `waybill up` in which a courier is asked: a simulated one knows what no webhook told."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from cli.demo.scenario import Healing
from devstack.couriers.lives import Habits, Life, Move, Parcel
from devstack.couriers.server import serving
from devstack.couriers.simulator import Account, Simulator
from runtime.errors import SetupError

ASK_SECONDS: Final = 60.0
"""How long the asking may take. A few seconds."""

SETTINGS: Final = ("WAYBILL_KIRIMINAJA_API_URL", "WAYBILL_KIRIMINAJA_API_KEY")
FILES: Final = tuple(f"{name}_FILE" for name in SETTINGS)
"""Where the user's own would stand: the simulated courier's take their place."""

WEBHOOKS: Final = {"100": "shipped_packages", "200": "finished_packages"}
"""The webhooks a life tells its moves by. The last one never comes."""

PARCEL: Final = Parcel(
    sender="KiriminAja",
    recipient="Bagus",
    content="Kopi Gayo",
    weight=1,
    price=150_000,
    shipping=10_000,
    cod=0,
    insurance=0,
    carrier="jne",
    carrier_service="REG",
    origin="YOGYAKARTA",
    destination="SLEMAN",
    habits=Habits(),
)


def life_of(healing: Healing) -> Life:
    """Return the parcel's life as its courier knows it."""
    moves = tuple(Move(move.at, move.code, None, WEBHOOKS[move.code], move.text) for move in healing.moves)
    reference = healing.reference
    return Life("kiriminaja", "express", reference, reference, f"AWB-{reference}", PARCEL, moves)


@asynccontextmanager
async def simulated_courier(healings: Sequence[Healing]) -> AsyncIterator[Mapping[str, str]]:
    """Run a courier that knows these shipments. Gives the settings by which it is asked."""
    account = Account(secrets.token_urlsafe(), secrets.token_urlsafe(), secrets.token_urlsafe())
    simulator = Simulator(account)
    for healing in healings:
        life = life_of(healing)
        simulator.add(life, moves=len(life.moves))
    async with serving(simulator) as url:
        yield dict(zip(SETTINGS, (url, account.kiriminaja_key), strict=True))


async def ask_about(healing: Healing, environ: Mapping[str, str]) -> None:
    """Run `waybill reconcile` for one shipment.

    Raises:
        SetupError: it fails. The text holds what it complained of.

    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "reconcile", "--shipment", healing.shipment_id),
        *("--courier", healing.story.courier),
        env={name: value for name, value in {**os.environ, **environ}.items() if name not in FILES},
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
