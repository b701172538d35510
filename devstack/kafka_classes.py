"""The classes of a broker as Java holds them in memory, in a file that later starts map: half their processor time.

It is made once per user, for those who start many brokers. Without it a start takes longer, nothing else.
"""

import asyncio
import os
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Final

from devstack import tools
from devstack.errors import MissingToolError
from devstack.home import Home
from devstack.jars import classes_file, jars
from devstack.kafka import EmbeddedKafka

LOCK: Final = "classes.lock"


async def keep_classes(say: Callable[[str], None]) -> None:
    """Have the file made, if there is none, by a broker that starts and ends. Of several at once one does, others wait.

    For a Java that leaves no classes the file is empty, and nobody tries again. Raises MissingToolError and StartError.
    """
    java = tools.java()
    if java is None:
        raise MissingToolError(f"a broker's classes need Java {tools.JAVA_AT_LEAST} or newer")
    held = await jars(say)
    kept = classes_file(java, held)
    if kept.exists():
        return
    lock = os.open(held / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        await asyncio.to_thread(flock, lock, LOCK_EX)
        if not kept.exists():
            say("Kafka: keeping its classes, for faster starts")
            await _leave(java, held, kept)
    finally:
        os.close(lock)


async def _leave(java: Path, held: Path, kept: Path) -> None:
    new = kept.with_suffix(".new")
    new.unlink(missing_ok=True)
    home = Home.fresh("kafka")
    try:
        broker = EmbeddedKafka(java, held, home, leaves=new)
        await broker.start(lambda _: None)
        await broker.stop()
    finally:
        home.release()
    new.touch()
    new.rename(kept)
