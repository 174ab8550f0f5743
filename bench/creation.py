"""How long a Vpn over N sites takes to make: what `l2-create` and `l3-create` measure.

*Accepted* is when the one who asked hears that every member has said yes; *ready*, when probes have crossed between
all of them. Three ways to look at it:

- **a core each** (`own_cores`): as it would be with a machine a site, this machine's processor standing for each;
- **one core** (`loopback`): all sites in this one process, with real sockets, TLS and stores: what one site waits for
  the other sites' work is in it, and that grows with N²;
- the **older shapes** (`older`) on the same loopback, with the same delay, in turns with ours.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import uvloop

from bench.costs import measured
from bench.figures import Figure
from bench.loopback import Lag, Loopback, everybody
from bench.older import Older
from bench.own_cores import Costs, Federation, home, on_own_cores
from intertie.agent.vpns import Vpns
from intertie.model.bodies import VpnKind
from intertie.model.views import VpnRequest, VpnView
from intertie.testing.federation import OPERATOR

FAR, NEAR = 0.2, 0.04
"""Round trips in seconds."""
PATIENCE = 60.0
AIMS = {10: 1.1, 50: 1.25}
"""Sites → round trips until a Vpn is accepted everywhere, at most, where a round trip takes 200 ms."""
FASTER = 6.0
"""Than three waves on fresh connections, at 50 sites."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""The one-core federation keeps its stores there: N sites that force N stores on one disk wait for one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    sites: tuple[int, ...] = (2, 5, 10, 20, 50)
    loopback: tuple[int, ...] = (2, 5, 10)
    """Federations that are tried on real sockets as well,"""
    older: tuple[int, ...] = (2, 5, 10, 50)
    """and the older shapes."""
    serial_up_to: int = 10
    """One request after the other takes minutes at more."""
    runs: int = 3
    rtts: tuple[float, ...] = (FAR, NEAR)


TINY = Size(sites=(2,), loopback=(2,), older=(2,), runs=1, rtts=(0.004,))


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds."""

    accepted: float
    ready: float


def measure(kind: VpnKind, size: Size) -> list[Figure]:
    costs = measured()
    figures = _charged(costs)
    alone = {n: _on_own_cores(kind, n, costs, size) for n in size.sites}
    far, near = size.rtts[0], size.rtts[-1]
    three = {n: uvloop.run(_older(n, size)) for n in size.older}
    for n, by_rtt in alone.items():
        figures += _figures(n, far, by_rtt[far], three.get(n))
    figures += [_line(far, {n: by[far] for n, by in alone.items()})] if len(alone) > 1 else []
    figures += [_line(near, {n: by[near] for n, by in alone.items()})] if len(alone) > 1 and near != far else []
    for n in size.loopback:
        figures += uvloop.run(_one_core(kind, n, size))
    return figures


def _charged(costs: Costs) -> list[Figure]:
    return [
        Figure(what="charged: a forced write of the store", ours=costs.write * 1000, unit="ms"),
        Figure(
            what="charged: a peer call's processor time, both ends",
            ours=(costs.calling + costs.answering) * 1000,
            unit="ms",
        ),
    ]


def _figures(sites: int, rtt: float, times: Times, older: tuple[float, float] | None) -> list[Figure]:
    aim = AIMS.get(sites)
    found = times.accepted / rtt
    figures = [
        Figure(
            what=f"{sites} sites, {rtt * 1000:.0f} ms, a core each: accepted",
            ours=found,
            unit="RTT",
            baseline=older[0] / rtt if older else None,
            beside="three waves" if older else "",
            ratio=older[0] / times.accepted if older else None,
            aim=f"≤ {aim} RTT" if aim else "",
            met=found <= aim if aim else None,
        ),
        Figure(what=f"{sites} sites, {rtt * 1000:.0f} ms, a core each: ready", ours=times.ready / rtt, unit="RTT"),
    ]
    if older and older[1]:
        figures.append(
            Figure(
                what=f"{sites} sites, {rtt * 1000:.0f} ms, a core each: accepted",
                ours=found,
                unit="RTT",
                baseline=older[1] / rtt,
                beside="one after the other",
                ratio=older[1] / times.accepted,
            )
        )
    if older and sites == max(AIMS):
        # What three waves wait for on the wire alone, whatever their machines compute: nine round trips.
        figures.append(
            Figure(
                what=f"{sites} sites: times faster than three waves that compute nothing",
                ours=9.0 / found,
                unit="×",
                aim=f"≥ {FASTER:g} ×",
                met=9.0 / found >= FASTER,
            )
        )
    return figures


def _line(rtt: float, times: dict[int, Times]) -> Figure:
    """RTT + c·N: the slope, by least squares through what is over the round trip."""
    over = {n: t.accepted - rtt for n, t in times.items()}
    mean_n, mean_o = statistics.mean(over), statistics.mean(over.values())
    slope = sum((n - mean_n) * (o - mean_o) for n, o in over.items()) / sum((n - mean_n) ** 2 for n in over)
    return Figure(
        what=f"accepted at {rtt * 1000:.0f} ms = RTT + {1000 * (mean_o - slope * mean_n):.0f} ms + c·N: c",
        ours=slope * 1000,
        unit="ms a site",
    )


# ── A core each ────────────────────────────────────────────────────────────────────────────────────────────


def _on_own_cores(kind: VpnKind, sites: int, costs: Costs, size: Size) -> dict[float, Times]:
    with TemporaryDirectory() as folder, _no_collector():
        return on_own_cores(_alone(kind, sites, Federation(Path(folder), costs), size))


async def _alone(kind: VpnKind, sites: int, world: Federation, size: Size) -> dict[float, Times]:
    await world.found(sites)
    gc.collect()
    gc.freeze()
    site, found = home(world), {}
    request = VpnRequest(name="v", kind=kind, attachments=everybody(world.running, kind))
    for rtt in size.rtts:
        runs = []
        await _end(world, await site.process.spawn(site.vpns.create(OPERATOR, request, PATIENCE)))  # fills caches
        for _ in range(min(size.runs, max(1, 60 // sites))):
            world.network.delay = rtt / 2
            made, times = await site.process.spawn(_create(site.vpns, request))
            runs.append(times)
            await _end(world, made)
        found[rtt] = _median(runs)
    await world.close()
    return found


async def _end(world: Federation, vpn: VpnView) -> None:
    """The Vpn is gone everywhere, and nobody has anything left to say."""
    world.network.delay = 0.001
    site = home(world)
    await site.process.spawn(site.vpns.delete(OPERATOR, vpn.id, force=True, wait=20.0))
    await world.quiet()
    await asyncio.sleep(5.0)


async def _create(vpns: Vpns, request: VpnRequest) -> tuple[VpnView, Times]:
    """What the user's request costs, on the running loop's clock."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    made = await vpns.create(OPERATOR, request, PATIENCE)
    accepted = loop.time() - begun
    while vpns.get(OPERATOR, made.id).phase.value != "ready":
        await vpns.agent.news.wait(0.05)
    return made, Times(accepted, loop.time() - begun)


def _median(runs: list[Times]) -> Times:
    return Times(statistics.median(t.accepted for t in runs), statistics.median(t.ready for t in runs))


@contextmanager
def _no_collector() -> Iterator[None]:
    """A collection of one site's garbage would be charged to another, and goes through all of them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        gc.collect()


# ── One core, real sockets ─────────────────────────────────────────────────────────────────────────────────


async def _one_core(kind: VpnKind, sites: int, size: Size) -> list[Figure]:
    with TemporaryDirectory(dir=MEMORY) as folder:
        world = Loopback(Path(folder))
        await world.start(sites)
        older = Older(Path(mkdtemp(dir=folder)), sites, world.lag)
        older.start()
        site, figures = world.sites["s1"], []
        request = VpnRequest(name="v", kind=kind, attachments=everybody(world.sites, kind))
        for rtt in size.rtts:
            ours, theirs = [], []
            for _ in range(size.runs):
                world.lag.rtt = rtt
                made, times = await _create(site.vpns, request)
                ours.append(times)
                world.lag.rtt = 0.0
                await site.vpns.delete(OPERATOR, made.id, force=True, wait=20.0)
                await world.quiet()
                await asyncio.sleep(0.3)
                world.lag.rtt = rtt
                theirs.append(await older.waves())
            mine, other = _median(ours).accepted, statistics.median(theirs)
            figures.append(
                Figure(
                    what=f"{sites} sites, {rtt * 1000:.0f} ms, all on one core, real sockets: accepted",
                    ours=mine / rtt,
                    unit="RTT",
                    baseline=other / rtt,
                    beside="three waves",
                    ratio=other / mine,
                )
            )
        await older.close()
        await world.close()
        return figures


async def _older(sites: int, size: Size) -> tuple[float, float]:
    """Seconds of (three waves, one after the other) at the longest round trip; 0 for what takes too long."""
    with TemporaryDirectory() as folder:
        older = Older(Path(folder), sites, Lag(size.rtts[0]))
        older.start()
        waves = statistics.median([await older.waves() for _ in range(size.runs)])
        serial = await older.serial() if sites <= size.serial_up_to else 0.0
        await older.close()
        return waves, serial
