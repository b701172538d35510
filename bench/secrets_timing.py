"""Whether the time an answer takes tells how much of a secret was right. Run by hand; the result is in SECURITY.md.

python -m bench.secrets_timing [rounds] [requests]

What must not be told apart are wrong secrets of one length: one right up to its last character, one right in its first
half, one right in its last half, and one right nowhere. Whoever could tell them apart would find a secret character by
character. A right secret is told by its answer anyway, and the time grows with the length of what was *shown*, never of
what is kept: both are reported without a bound.

Each round measures every class once, in random order and with new secrets at random, made beforehand: against a
verifier that accepts the secret and, in turn, against one that has never heard of it: by a nanosecond or two classes
differ against either, from where their samples lie in memory, and only what the first verifier adds to that can tell
anything about the secret. So t is that of the difference between both verifiers' differences, of the times below a
common 90th percentile, as dudect has it. No two classes may have medians further apart than the bound, nor |t| of 4.5
or more. Two controls: two classes that are equal, and a comparison that ends at the first wrong character, which must
differ. Over HTTP there is one door, and t is Welch's."""

import asyncio
import os
import platform
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from itertools import combinations
from math import hypot, sqrt
from statistics import fmean, median, variance
from string import ascii_letters, digits
from time import perf_counter_ns
from typing import Final

from ingest.credentials import make_verifier, verify
from schemas.couriers.dash import Dash
from schemas.couriers.kiriminaja import KiriminAja
from tests.unit.ingest.doors import FakePublisher, running_door, settings_with

MAX_T: Final = 4.5
"""dudect's threshold."""

KEPT: Final = 0.9
"""The share of the samples that is looked at: what the machine interrupted is in the rest."""

BOUND_NS: Final = 50
"""For `verify` itself, of some two microseconds."""

DOOR_BOUND_NS: Final = 20_000
"""For an answer over HTTP on loopback, of some 200 microseconds: the scatter of a quiet machine's median."""

LENGTH: Final = 32
LETTERS: Final = ascii_letters + digits
SECRET: Final = "".join(random.choices(LETTERS, k=LENGTH))
OTHER, UNRELATED = ("".join(random.choices(LETTERS, k=LENGTH)) for _ in range(2))
"""Another one that is accepted, and one that the ignorant verifier accepts instead of `SECRET`."""

Times = dict[str, list[int]]
"""Nanoseconds, by class."""

Judge = Callable[[list[str]], object]
"""What is measured: it judges the values of a header."""


def wrong(start: int, end: int) -> str:
    """Return the secret made wrong at each place from `start` to `end`. The making is the same for all places."""
    away = [random.choice(LETTERS.replace(right, "")) for right in SECRET]
    return "".join(away[at] if start <= at < end else right for at, right in enumerate(SECRET))


CLASSES: Final[Mapping[str, Callable[[], str]]] = {
    "all but the last right": lambda: wrong(LENGTH - 1, LENGTH),
    "first half right": lambda: wrong(LENGTH // 2, LENGTH),
    "last half right": lambda: wrong(0, LENGTH // 2),
    "none right": lambda: wrong(0, LENGTH),
    "none right, again": lambda: wrong(0, LENGTH),
    "wrong, one longer": lambda: wrong(0, LENGTH) + "x",
    "wrong, eight times as long": lambda: wrong(0, LENGTH) * 8,
    "right": lambda: wrong(0, 0),
}
"""What is shown."""

WRONG: Final = 5
"""The first classes, wrong and of one length, which must not be told apart."""


def prepared(classes: Sequence[str], scheme: str) -> list[tuple[str, list[str]]]:
    """Make a header's values of every class, in random order."""
    return [(name, [scheme + CLASSES[name]()]) for name in random.sample(classes, len(classes))]


def samples(knowing: Judge, ignorant: Judge, rounds: int, scheme: str) -> tuple[Times, Times]:
    """Measure every class once a round with both; the first twentieth of the rounds warms up."""
    found: tuple[Times, Times] = ({name: [] for name in CLASSES}, {name: [] for name in CLASSES})
    both = [(knowing, found[0]), (ignorant, found[1])]
    for number in range(rounds + rounds // 20):
        for judge, times in random.sample(both, 2):
            for name, presented in prepared(list(CLASSES), scheme):
                began = perf_counter_ns()
                judge(presented)
                took = perf_counter_ns() - began
                if number >= rounds // 20:
                    times[name].append(took)
    return found


def leaky(secret: str, presented: list[str]) -> bool:
    """End at the first wrong character: what verifying must not be."""
    return all(one == other for one, other in zip(presented[0], secret, strict=False))


def verdict(found: Times, bound: int, ignorant: Times | None = None) -> bool:
    """Print each class and each pair of wrong ones; whether none can be told apart."""
    for name, times in found.items():
        print(f"    {name:28} median {median(times):>9.0f} ns   ({len(times)} samples)")
    clean = True
    for one, other in combinations(list(found)[:WRONG], 2):
        difference, error = apart(found[one], found[other])
        if ignorant is not None:
            without, its_error = apart(ignorant[one], ignorant[other])
            difference, error = difference - without, hypot(error, its_error)
        t, medians = difference / error, median(found[one]) - median(found[other])
        differ = abs(t) >= MAX_T or abs(medians) > bound
        clean = clean and not differ
        print(f"    {one} / {other}: t = {t:+.2f}, medians {medians:+.0f} ns{'  DIFFER' if differ else ''}")
    return clean


def apart(one: Sequence[int], other: Sequence[int]) -> tuple[float, float]:
    """Return the difference of the means, and its standard error, of both cut at their common percentile."""
    cut = sorted([*one, *other])[int(KEPT * (len(one) + len(other)))]
    a, b = ([time for time in times if time <= cut] for times in (one, other))
    return fmean(a) - fmean(b), sqrt(variance(a) / len(a) + variance(b) / len(b))


def digest(secret: str) -> str:
    return f"sha256:{sha256(secret.encode()).hexdigest()}"


def function(rounds: int) -> bool:
    """Judge the function that verifies, for both couriers' headers and both ways of keeping a secret."""
    print("  control: a comparison that ends at the first wrong character; it must differ")
    knowing, ignorant = samples(partial(leaky, SECRET), partial(leaky, UNRELATED), rounds // 20, "")
    if verdict(knowing, BOUND_NS, ignorant):
        print("the measurement is blind")
        return False
    clean = True
    for kept_as, keep in (("text", str), ("digests", digest)):
        for courier in (Dash(), KiriminAja()):
            print(f"  verify, {courier.name}, two secrets kept as {kept_as}; bound {BOUND_NS} ns")
            verifiers = [
                make_verifier(courier.credentials, courier.credentials.header, [keep(OTHER), keep(secret)])
                for secret in (SECRET, UNRELATED)
            ]
            scheme = f"{verifiers[0].scheme} " if verifiers[0].scheme else ""
            knowing, ignorant = samples(partial(verify, verifiers[0]), partial(verify, verifiers[1]), rounds, scheme)
            clean &= verdict(knowing, BOUND_NS, ignorant)
    return clean


async def over_http(requests: int) -> bool:
    """Judge the door's 401 on one connection over loopback."""
    settings = settings_with(WAYBILL_DASH_SECRETS=f"{OTHER},{digest(SECRET)}")
    async with running_door(FakePublisher(), settings) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        classes = list(CLASSES)[:WRONG]
        found: Times = {name: [] for name in classes}
        for number in range(requests + requests // 20):
            for name, presented in prepared(classes, ""):
                head = f"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: {presented[0]}\r\n"
                began = perf_counter_ns()
                writer.write(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
                answer = await reader.readuntil(b"\r\n\r\n")
                took = perf_counter_ns() - began
                assert answer.startswith(b"HTTP/1.1 401 ")
                await reader.readexactly(_length(answer))
                if number >= requests // 20:
                    found[name].append(took)
        writer.close()
    print(f"  401 over HTTP, dash; bound {DOOR_BOUND_NS} ns")
    return verdict(found, DOOR_BOUND_NS)


def _length(head: bytes) -> int:
    (line,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return int(line.split(b":")[1])


def main(rounds: int, requests: int) -> int:
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}, Python {platform.python_version()}")
    clean = function(rounds)
    clean &= asyncio.run(over_http(requests))
    print("no class of wrong secrets can be told from another" if clean else "WRONG SECRETS CAN BE TOLD APART")
    return 0 if clean else 1


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*(given + [100_000, 20_000][len(given) :])))
