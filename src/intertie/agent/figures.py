"""What the agent counts of itself: plain numbers, which `api.metrics` shows to Prometheus. Nothing decides by them,
but for the store's last word, which readiness goes by."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from intertie.model.errors import Conflict, Forbidden, IntertieError, NotFound, Refused, Unavailable
from intertie.model.storage import Committed, Overtaken

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the buckets of all durations: from a commit on a good disk to a call that is given up."""
OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (Conflict, "conflict"),
    (Overtaken, "conflict"),
    (Refused, "refused"),
    (Forbidden, "forbidden"),
    (NotFound, "refused"),
    (Unavailable, "unavailable"),
    (asyncio.CancelledError, "cancelled"),
    (TimeoutError, "unavailable"),
)
"""By the class of the error, since its code may be another site's word, and labels are to be few."""


@dataclass(slots=True)
class Histogram:
    """Durations in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Of each bucket by itself, and last of what is above all bounds."""
    sum: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds


def outcome(error: BaseException) -> str:
    """The label of what was raised."""
    return next((word for kind, word in OUTCOMES if isinstance(error, kind)), "failed")


@contextmanager
def timed(counts: Counter[tuple[str, ...]], labels: tuple[str, ...], seconds: Histogram | None) -> Iterator[None]:
    """Count what happens within, under `labels` and its outcome, and how long it took."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    word = "ok"
    try:
        yield
    except BaseException as error:
        word = outcome(error)
        raise
    finally:
        counts[(*labels, word)] += 1
        if seconds is not None:
            seconds.add(clock() - begun)


def _histograms() -> defaultdict[tuple[str, ...], Histogram]:
    return defaultdict(Histogram)


@dataclass(slots=True)
class Figures:
    """Keys are the labels, outcome last; see `api.metrics` for what each means."""

    calls: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(peer, outcome)"""
    call_seconds: defaultdict[tuple[str, ...], Histogram] = field(default_factory=_histograms)
    served: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(peer, outcome); peer "" is a stranger that joins."""
    served_seconds: defaultdict[tuple[str, ...], Histogram] = field(default_factory=_histograms)
    sent: Counter[str] = field(default_factory=Counter)
    """Octets to each peer, requests and replies,"""
    received: Counter[str] = field(default_factory=Counter)
    """and from it."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Records of each peer that were not taken."""
    skew: dict[str, float] = field(default_factory=dict)
    """Seconds by which each peer's clock is ahead."""
    rounds: Counter[tuple[str, ...]] = field(default_factory=Counter)
    round_seconds: Histogram = field(default_factory=Histogram)
    round_ended: float | None = None
    """When the last good round ended, on the event loop's clock."""
    plan: Counter[str] = field(default_factory=Counter)
    """Of the last round: changes by op, orphans ("?") and what is kept ("!")."""
    drivers: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(driver, op, outcome)"""
    driver_seconds: defaultdict[tuple[str, ...], Histogram] = field(default_factory=_histograms)
    commits: Counter[tuple[str, ...]] = field(default_factory=Counter)
    commit_seconds: Histogram = field(default_factory=Histogram)
    store_problem: str = ""
    """Why the last commit could not be made durable; "" if it was."""
    events: Counter[str] = field(default_factory=Counter)
    """By kind."""
    requests: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """(operation, status)"""
    request_seconds: defaultdict[tuple[str, ...], Histogram] = field(default_factory=_histograms)

    async def commit(self, writing: Awaitable[Committed]) -> Committed:
        """One commit of the store. What is refused for what it says is no failure of the store."""
        with timed(self.commits, (), self.commit_seconds):
            try:
                done = await writing
            except Overtaken:
                raise  # it is decided again: the store is well
            except Unavailable as error:
                self.store_problem = error.detail
                raise
            except IntertieError:
                raise
        self.store_problem = ""
        return done
