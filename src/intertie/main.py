"""The composition root: the one place that knows everything. Runs a site's agent."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from starlette.types import ASGIApp

from intertie import __version__, logs
from intertie.agent import causes
from intertie.agent.access import Identity, Tokens
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.ports import Cloud, Guards, Unguarded
from intertie.agent.recovery import upgraded
from intertie.agent.round import Rounds
from intertie.agent.siblings import Siblings
from intertie.agent.upkeep import Watch
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.api import Services, build, end_streams, trusted
from intertie.drivers.cloud.linux import LinuxCloud
from intertie.drivers.linux import capabilities
from intertie.drivers.linux.frames import SegmentProbes
from intertie.drivers.linux.link_probe import LinkProbes, SharedLinkProbes
from intertie.drivers.linux.netns import Namespaces
from intertie.drivers.transport.several import Carrier, SeveralTransports
from intertie.drivers.transport.vxlan import VxlanTransport
from intertie.federation import keys
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import Caller
from intertie.model.bodies import Address
from intertie.model.codec import decode
from intertie.model.errors import IntertieError, Refused
from intertie.model.items import Inventory
from intertie.planning.enrol import pin
from intertie.serving import (
    Current,
    Looking,
    open_port,
    own_address,
    port_options,
    serve_operator,
    server,
    tell_supervisor,
    user_socket,
)
from intertie.site_file import PEER_PORT, SiteFile, read_site
from intertie.store.sqlite import SqliteStore
from intertie.surroundings import AgentSurroundings
from intertie.tracing import finish, tracer
from intertie.wiring import (
    HostPings,
    InvitationTokens,
    PeerCalls,
    SiteKeys,
    SystemClock,
    Tried,
    Ulids,
    shared_store,
)

log = structlog.get_logger()

UNSEEN = 5.0
"""Seconds between tries to see the cloud for the first time."""
FIRST = "0.1.0"
"""The version that did not note yet which one ran."""


@dataclass(slots=True)
class Running:
    """Everything of one agent."""

    services: Services
    exchange: Exchange
    transport: TlsTransport
    calls: PeerCalls
    links: LinkProbes
    probes: SegmentProbes
    siblings: Siblings | None
    namespaces: Namespaces
    underlay: Address
    stale: Callable[[], None] | None = None
    """Makes the next look at the cloud ask it; None where each does."""


def _settings(site: SiteFile, underlay: Address) -> Settings:
    host = f"[{underlay}]" if underlay.version == 6 else str(underlay)
    return Settings(
        name=site.name,
        version=__version__,
        address=f"{host}:{PEER_PORT}" if site.address is None else site.address,
        location=site.location,
        cloud=site.cloud,
        cell=site.cell,
        introductions=site.introductions,
        heartbeat=site.heartbeat,
        round_every=site.round_every,
        probe_budget=site.probe_budget,
        certificate_days=site.certificate_days,
    )


def _ports(dir: Path, site: SiteFile, key: keys.RootKey) -> Ports:
    marker = dir / "keys" / "marker"
    shared = shared_store(site.store, site.name, marker) if site.store else None
    return Ports(
        store=shared or SqliteStore(dir / "intertie.db", site=site.name, decode=decode, marker=marker),
        keys=SiteKeys(key),
        clock=SystemClock(),
        ids=Ulids(),
        chance=random.Random(),
        log=log,
        tracer=tracer(site.name, os.environ),
        shared=shared,
    )


def _underlay(site: SiteFile) -> Address:
    underlay = site.underlay or own_address()
    if underlay.is_loopback:
        log.warning("no address that other sites can reach", underlay=str(underlay), hint="set underlay in site.toml")
    return underlay


def compose(dir: Path, site: SiteFile, lines: Callable[[], Sequence[str]] = tuple) -> Running:
    """Put the parts together; `lines` are the last of the log. Nothing runs yet."""
    underlay = _underlay(site)
    key = keys.load(dir)
    ports = _ports(dir, site, key)
    shared = ports.shared
    agent = Agent(_settings(site, underlay), ports)
    transport = TlsTransport(key, agent.now, [open_port(underlay, PEER_PORT, "peers", port_options(site))])
    calls = PeerCalls(transport, dir / "keys" / "pins.json")
    namespaces = Namespaces()
    linux = LinuxCloud(site.name, namespaces)
    vxlan = VxlanTransport(site=site.name, namespaces=namespaces, underlay=underlay)
    beside = _beside(site, key, namespaces, linux, vxlan)
    cloud, carriers = beside.cloud, beside.carriers
    segments = SeveralTransports(carriers)
    links = SharedLinkProbes() if shared else LinkProbes()

    probes = SegmentProbes(site=site.name, namespaces=namespaces, place=segments.place, on_loop=agent.loop_seen)
    health = Health(agent, probes, links)
    whispers = Whispers(agent, health, HostPings(linux, namespaces), beside.guards)
    enrolment = Enrolment(agent, calls, InvitationTokens(key))
    exchange = Exchange(agent, calls, enrolment, whispers)

    tried = Tried({name: carrier.probe for name, carrier in carriers.items()})

    async def look() -> Inventory:
        return Inventory(networks=await cloud.inventory(), transports=await tried.facts(), underlay=(underlay,))

    services = Services(
        agent=agent,
        vpns=Vpns(agent, exchange, health, whispers),
        networks=Networks(agent, cloud, look),
        enrolment=enrolment,
        tokens=Tokens(agent),
        rounds=Rounds(agent, cloud, segments, health, look),
        health=health,
        identity=beside.users,
        surroundings=AgentSurroundings(site, dir / "intertie.db", transport, lines, tried.facts),
    )
    siblings = Siblings(agent, shared, whispers) if shared else None
    return Running(services, exchange, transport, calls, links, probes, siblings, namespaces, underlay, beside.stale)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The site's cloud and transports. `stale` makes the next look at the cloud ask it."""

    cloud: Cloud
    carriers: Mapping[str, Carrier]
    stale: Callable[[], None] | None = None
    guards: Guards = field(default_factory=Unguarded)
    users: Identity | None = None


def _beside(
    site: SiteFile, key: keys.RootKey, namespaces: Namespaces, linux: LinuxCloud, vxlan: VxlanTransport
) -> _Parts:
    """This host's, or those of an OpenStack region."""
    if site.openstack is None:
        return _Parts(linux, {"vxlan": vxlan})
    from intertie.openstack_site import beside  # what it imports is of use to nobody else

    parts = beside(site.name, site.openstack, key.secret("marks"), namespaces, vxlan, causes.openstack_id)
    return _Parts(parts.cloud, parts.carriers, parts.stale, parts.guards, parts.users)


async def _open(running: Running) -> None:
    """The store is read, and what a change of version or a loss asks for is begun."""
    await running.services.agent.open()
    if running.siblings is not None:
        await running.siblings.begin()
    await upgraded(running.services.agent, FIRST)
    await _recover_pins(running)


async def _recover_pins(running: Running) -> None:
    """A store that was lost knows nobody: those whom the file beside the keys names are trusted as before."""
    agent = running.services.agent
    kept = running.calls.kept()
    if not agent.recovering or agent.pins():
        await agent.recovered()  # a site without peers has nobody who could tell it more
        return
    log.warning("the store was lost; taking records back from peers", peers=[body.site for body in kept])
    await agent.write(lambda s: [pin(s.table, body) for body in kept])


def _loops(running: Running) -> list[asyncio.Task[None]]:
    """What goes on for as long as the agent does, beside answering."""
    services, siblings = running.services, running.siblings
    watch = Watch(services.agent, services.surroundings)
    loops = {"rounds": services.rounds.run, "exchange": running.exchange.run, "health": services.health.run}
    loops["watch"] = watch.run
    if siblings is not None:
        loops["siblings"] = siblings.run
    return [asyncio.create_task(run(), name=name) for name, run in loops.items()]


async def serve(dir: Path, site: SiteFile, fd: int | None, lines: Callable[[], Sequence[str]]) -> None:
    """Run the agent of `dir` until SIGTERM or SIGINT. What it forwards goes on without it."""
    users = user_socket(site, fd)
    running = compose(dir, site, lines)
    services = running.services
    agent = services.agent
    await _open(running)
    await _first_look(services.rounds)
    await running.links.open(running.underlay)

    async def handle(caller: Caller | None, body: bytes) -> bytes:
        return await running.exchange.handle(caller.name if caller is not None else None, body)

    app = build(services)
    fresh: ASGIApp = Current(app, services.rounds) if running.siblings else app
    if running.stale is not None:
        fresh = Looking(fresh, partial(_look_anew, running.stale, services.rounds))
    public, operators = server(fresh, site), server(trusted(fresh))
    apis = [
        asyncio.create_task(public.serve(sockets=[users]), name="api"),
        asyncio.create_task(serve_operator(dir, operators), name="operator"),
    ]
    parts = [asyncio.create_task(running.transport.serve(handle), name="peers"), *_loops(running)]
    log.info("agent up", site=site.name, underlay=str(running.underlay), incarnation=agent.incarnation)
    tell_supervisor("READY=1")
    ended = await _first_end([*apis, *parts])
    tell_supervisor("STOPPING=1")
    end_streams(app)
    public.should_exit = operators.should_exit = True
    for part in parts:
        part.cancel()
    await asyncio.gather(*apis, *parts, return_exceptions=True)
    running.links.close()
    await running.probes.close()
    await agent.ports.store.close()
    finish(agent.ports.tracer)
    for part in ended:
        # A part that ended by itself takes the agent down with it: better seen than half alive.
        part.result()
        raise RuntimeError(f"{part.get_name()} ended by itself")


async def _first_look(rounds: Rounds) -> None:
    """Until the cloud was seen once: who has not seen it would judge all that is there to be gone. What forwards goes
    on meanwhile."""
    while True:
        try:
            await rounds.first_look()
            return
        except IntertieError as error:
            log.warning("the cloud does not answer", detail=error.detail, hint=error.hint)
            await asyncio.sleep(UNSEEN)


async def _look_anew(stale: Callable[[], None], rounds: Rounds) -> None:
    stale()
    await rounds.look()


async def _first_end(parts: list[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait for a signal, or for parts that end by themselves: these."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *parts], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return {part for part in parts if part in done}


def run_agent(dir: Path, fd: int | None = None) -> None:
    """Entry of `intertie agent run`."""
    if missing := capabilities.lacking():
        raise Refused(
            f"the agent may not change this machine's network: it lacks {', '.join(missing)}",
            hint="run it as root, or give it these capabilities (AmbientCapabilities= in a systemd unit)",
        )
    site = read_site(dir)
    ring = logs.configure(os.environ.get(logs.VARIABLE) or site.log, sys.stderr)
    uvloop = _uvloop()
    with asyncio.Runner(loop_factory=uvloop) as runner:
        runner.run(serve(dir, site, fd, ring.lines))


def _uvloop() -> type[asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import Loop
    except ImportError:
        return None
    return Loop
