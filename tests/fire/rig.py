"""A federation under fire: agent processes whose peer calls all pass the fault proxy, on small disks, with clocks
that can be set wrong.

        nantes            lyon                     what peers are told: the backbone's end of the site's link,
          │ :7576           │ :7576                where the proxy listens in the site's stead; it tells who
    ──── proxy ─────────── proxy ─────  backbone   calls by the source address. Segments and probes (UDP) go
                                                   straight, so what forwards is judged apart from who agrees.

The data directories lie on memory disks of their own, so that one can be full.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import httpx

from intertie.demo import kernel
from intertie.demo.lab import Space
from intertie.demo.sites import DemoSite
from intertie.federation.peer_server import listen
from intertie.site_file import PEER_PORT
from intertie.testing.fault_proxy import Fault, FaultProxy, Traffic
from tests.fire.launch import set_clock
from tests.net.topologies.hosts import Stream
from tests.net.topologies.rig import Rig, Site
from tests.net.topologies.topology import Topology

T = TypeVar("T")

HEARTBEAT = 2.0
ROUND = 1.0
CALL_TIMEOUT = 5.0
"""Seconds that agents wait for a peer, so that what was lost in the proxy is missed soon."""
DISK = "12m"
PING = 0.05
"""Seconds between the echoes of a stream under fire."""
LAUNCH = str(Path(__file__).with_name("launch.py"))
BALLAST = "ballast"


class Proxied:
    """The proxy on an event loop and a thread of its own, in the backbone's namespace."""

    def __init__(self, rig: Rig) -> None:
        self._loop = asyncio.new_event_loop()
        self._names: dict[str, str] = {}
        self._proxy = FaultProxy(lambda source: self._names[str(ip_address(source))])
        self._path = rig.backbone.path
        entered: threading.Event = threading.Event()

        def live() -> None:
            there = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            kernel.setns(there, kernel.CLONE_NEWNET)
            os.close(there)
            entered.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=live, name="proxy", daemon=True)
        self._thread.start()
        assert entered.wait(10), "the backbone cannot be entered"

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    def _do(self, act: Callable[[FaultProxy], T]) -> T:
        async def now() -> T:
            return act(self._proxy)

        return self._run(now())

    def stand_for(self, place: DemoSite) -> str:
        """Listen in place of a site; the address to tell its peers."""
        self._names[str(place.underlay.ip)] = place.name

        async def listening() -> None:
            sock = listen(place.router.ip, PEER_PORT)
            await self._proxy.listen(place.name, sock, str(place.underlay.ip), PEER_PORT)

        self._run(listening())
        return f"{place.router.ip}:{PEER_PORT}"

    def set(self, source: str, target: str, fault: Fault) -> None:
        self._do(lambda proxy: proxy.set(source, target, fault))

    def both(self, one: str, other: str, fault: Fault) -> None:
        self.set(one, other, fault)
        self.set(other, one, fault)

    def isolate(self, site: str, fault: Fault) -> None:
        """The fault on every way from and to the site."""
        for name in self._names.values():
            if name != site:
                self.both(site, name, fault)

    def lift(self, *ways: tuple[str, str]) -> None:
        self._do(lambda proxy: proxy.lift(*ways))

    def break_off(self, one: str, other: str) -> int:
        return self._do(lambda proxy: proxy.break_off(one, other))

    def traffic(self) -> dict[tuple[str, str], Traffic]:
        """A copy, way by way."""

        def copied(proxy: FaultProxy) -> dict[tuple[str, str], Traffic]:
            return {
                way: Traffic(t.connections, t.turns, t.octets, t.swallowed, t.resets)
                for way, t in proxy.traffic.items()
            }

        return self._do(copied)

    def close(self) -> None:
        self._run(self._proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class FireRig(Rig):
    """A rig with a proxy, small disks and wrong clocks."""

    def __init__(self, topology: Topology, directory: Path, introductions: str = "accept") -> None:
        super().__init__(topology, directory)
        self.introductions = introductions
        self.proxy: Proxied | None = None
        self.stopped: set[str] = set()
        self.begun = time.monotonic()

    @property
    def net(self) -> Proxied:
        assert self.proxy is not None
        return self.proxy

    def raise_sites(self) -> None:
        for site in self.topology.sites:  # before there are namespaces, which see what was mounted by then
            (self._directory / site).mkdir(parents=True)
            kernel.mount("none", str(self._directory / site), "tmpfs", options=f"size={DISK},mode=700")
        super().raise_sites()

    def _settle(self, place: DemoSite, space: Space) -> None:
        if self.proxy is None:
            self.proxy = Proxied(self)
        super()._settle(place, space)
        with (self[place.name].directory / "site.toml").open("a") as settings:
            settings.write(f'address = "{self.net.stand_for(place)}"\n')
            settings.write(f"heartbeat = {HEARTBEAT}\nround_every = {ROUND}\n")
        set_clock(self._clock(place.name), 0.0)
        self.launch_as(place.name)

    # ── Processes ──────────────────────────────────────────────────────────────────────────────────────────

    def _clock(self, site: str) -> Path:
        return self._directory / f"{site}.clock"

    def launch_as(self, site: str, lifetime: float = 0.0, call_timeout: float = CALL_TIMEOUT) -> None:
        """How the agent is started from now on: seconds that its certificates live (0: as they do)."""
        self[site].program = (LAUNCH, str(self._clock(site)), str(lifetime), str(call_timeout))

    def set_clock(self, site: str, ahead: float) -> None:
        set_clock(self._clock(site), ahead)

    def restart(self, site: str) -> None:
        self[site].kill()
        self[site].start()
        self[site].wait_ready()

    def stop(self, site: str) -> None:
        """SIGSTOP: the process is there and does nothing; its sockets go on taking what the kernel takes."""
        os.kill(self[site].pid, signal.SIGSTOP)
        self.stopped.add(site)

    def go_on(self, site: str) -> None:
        os.kill(self[site].pid, signal.SIGCONT)
        self.stopped.discard(site)

    def murder(self, site: str) -> None:
        """SIGKILL, whatever else is going on; `alive` will see it."""
        os.kill(self[site].pid, signal.SIGKILL)

    def alive(self, site: str) -> bool:
        """Whether the agent's process runs; one that ended by itself is no longer the site's."""
        pid = self[site].pid
        if pid and os.waitpid(pid, os.WNOHANG)[0]:
            self[site].pid = 0
            self[site].hang_up()
        return bool(self[site].pid)

    # ── Disks ──────────────────────────────────────────────────────────────────────────────────────────────

    def fill_disk(self, site: str) -> None:
        """Not an octet is left."""
        with (self[site].directory / BALLAST).open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass

    def free_disk(self, site: str) -> None:
        (self[site].directory / BALLAST).unlink(missing_ok=True)

    # ── Ends of fires ──────────────────────────────────────────────────────────────────────────────────────

    def put_out(self) -> None:
        """Every fault is lifted, every agent runs."""
        self.net.lift()
        self.heal()
        for site in self:
            self.free_disk(site.name)
            self.set_clock(site.name, 0.0)
            if site.name in self.stopped:
                self.go_on(site.name)
            if not self.alive(site.name):
                site.start()
        for site in self:
            site.wait_ready()

    def pings(self, pairs: dict[str, str]) -> list[Stream]:
        """A stream for every ordered pair of these hosts (host → site)."""
        return [self.see.stream(*target, PING) for target in self.targets(pairs, 4).values()]

    def close(self) -> None:
        for site in list(self.stopped):
            self.go_on(site)
        super().close()
        if self.proxy is not None:
            self.proxy.close()


@contextlib.contextmanager
def unbroken(streams: list[Stream]) -> Iterator[None]:
    """Not one echo of these streams is lost meanwhile."""
    with contextlib.ExitStack() as running:
        for stream in streams:
            running.enter_context(stream)
        yield
        for stream in streams:
            stream.go_on(0.5)
    lost = [stream.words for stream in streams if stream.lost]
    assert not lost, lost
    assert all(stream.sent >= 10 for stream in streams)


def answered(site: Site, method: str, path: str, body: object = None, **how: Any) -> httpx.Response | None:
    """The site's answer; None when there was none, and nobody knows what became of the request."""
    try:
        return site.call(method, path, body, **how)
    except httpx.TransportError:
        site.hang_up()
        return None
