"""Looking out of namespaces: pings, counted streams of pings, TCP, raw frames, and netlink. No program is needed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute

from intertie.demo import kernel
from intertie.drivers.linux.icmp import Echo, Outcome, Pinger
from intertie.drivers.linux.netns import Namespaces, Netns

T = TypeVar("T")
K = TypeVar("K")

EVERY = 0.010
"""Seconds between the echoes of a stream, unless it says otherwise."""
LATE = 3.0
"""Seconds after which an echo of a stream counts as lost: far beyond any delay of a busy machine."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network namespace, by a path that leads to it."""

    path: str

    def run(self, fn: Callable[[], T]) -> T:
        """Call `fn` inside, on a thread that ends with it."""

        def inside() -> T:
            there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                kernel.setns(there, kernel.CLONE_NEWNET)
            finally:
                os.close(there)
            return fn()

        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(inside).result()

    def netlink(self, fn: Callable[[IPRoute], T]) -> T:
        def ask() -> T:
            with IPRoute() as nl:
                return fn(nl)

        return self.run(ask)


@dataclass(slots=True)
class Stream:
    """Echoes every `every` seconds from one namespace to one address, each of which is accounted for.

    A context: on leaving it, the last echoes are waited for. `lost` lists what became of those without a reply.
    """

    hosts: Hosts
    source: Network
    target: str
    every: float = EVERY
    sent: int = 0
    lost: list[Echo] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _sending: asyncio.Condition = field(default_factory=asyncio.Condition)
    _running: Future[None] | None = None

    def __enter__(self) -> Stream:
        self._running = self.hosts.begin(self._run())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._running is not None
        self.hosts.loop.call_soon_threadsafe(self._stop.set)
        self._running.result(60)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        echoes: set[asyncio.Task[None]] = set()
        async with self.hosts.pinger(self.source) as pinger:
            due = loop.time()
            while not self._stop.is_set():
                self.sent += 1
                async with self._sending:
                    self._sending.notify_all()
                task = loop.create_task(self._echo(pinger))
                echoes.add(task)
                task.add_done_callback(echoes.discard)
                due = max(due + self.every, loop.time())
                await asyncio.sleep(due - loop.time())
            await asyncio.gather(*echoes)

    async def _echo(self, pinger: Pinger) -> None:
        echo = await pinger.ping(ip_address(self.target), timeout=LATE)
        if echo.outcome is not Outcome.REPLY:
            self.lost.append(echo)

    def go_on(self, seconds: float = 1.0) -> None:
        """Let it run for that long: what has just been done may show a little later."""
        self.hosts.begin(self._sent(self.sent + round(seconds / self.every))).result(seconds * 10 + 10)

    async def _sent(self, number: int) -> None:
        async with self._sending:
            await self._sending.wait_for(lambda: self.sent >= number)

    @property
    def words(self) -> str:
        return (
            f"{len(self.lost)} of {self.sent} echoes to {self.target} lost: {Counter(e.outcome for e in self.lost)}"
        )

    def check(self, least: int = 100) -> None:
        """Zero loss, of a number of echoes that says something."""
        assert self.sent >= least, f"only {self.sent} echoes were sent"
        assert not self.lost, self.words


class Hosts:
    """Runs pings on an event loop of its own thread, so that they go on while a test waits for something else."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="hosts", daemon=True)
        self._thread.start()
        self._spaces: dict[str, Namespaces] = {}

    def begin(self, what: Coroutine[object, object, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(what, self.loop)

    def pinger(self, source: Network) -> Pinger:
        """One that sends from `source`."""
        path = Path(source.path)
        spaces = self._spaces.setdefault(str(path.parent), Namespaces(path.parent))
        return Pinger(spaces, Netns(path.name))

    def ping(self, source: Network, target: str, *, size: int = 84, timeout: float = 1.0) -> Echo:
        """One echo, never fragmented."""

        async def once() -> Echo:
            async with self.pinger(source) as pinger:
                return await pinger.ping(ip_address(target), size=size, timeout=timeout)

        return self.begin(once()).result(timeout + 10)

    def answers(self, source: Network, target: str, count: int = 3, **how: float) -> int:
        """How many of `count` echoes, sent at once, are answered."""

        async def several() -> list[Echo]:
            async with self.pinger(source) as pinger:
                pings = [pinger.ping(ip_address(target), **how) for _ in range(count)]  # type: ignore[arg-type]
                return await asyncio.gather(*pings)

        return sum(echo.outcome is Outcome.REPLY for echo in self.begin(several()).result(60))

    def all_answer(self, pairs: Mapping[K, tuple[Network, str]], *, size: int = 84) -> dict[K, Echo]:
        """One echo each, all at once; those that were not answered. A first one has a neighbour to find."""

        async def one(source: Network, target: str) -> Echo:
            async with self.pinger(source) as pinger:
                return await pinger.ping(ip_address(target), size=size, timeout=5.0)

        async def every() -> list[Echo]:
            return await asyncio.gather(*(one(*pair) for pair in pairs.values()))

        found = zip(pairs, self.begin(every()).result(60), strict=True)
        return {key: echo for key, echo in found if echo.outcome is not Outcome.REPLY}

    def stream(self, source: Network, target: str, every: float = EVERY) -> Stream:
        return Stream(self, source, target, every)

    def up(self, host: Network) -> bool:
        """Whether the host's namespace is there with an address on its interface."""
        try:
            return host.run(lambda: bool(addresses("eth0")))
        except OSError:
            return False

    def close(self) -> None:
        for spaces in self._spaces.values():
            self.begin(spaces.close()).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def addresses(device: str) -> list[str]:
    """Addresses of universal scope on a device of the calling thread's namespace, with prefix lengths."""
    with IPRoute() as nl:
        found = nl.link_lookup(ifname=device)
        rows = list(nl.get_addr(index=found[0])) if found else []
        return sorted(f"{row.get_attr('IFA_ADDRESS')}/{row['prefixlen']}" for row in rows if row["scope"] == 0)
