"""The composition root: the one place that knows everything. Runs a site's agent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import structlog
import uvicorn

from intertie import __version__
from intertie.agent.access import Tokens
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.round import Rounds
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.api import Services, build, end_streams, trusted
from intertie.drivers.cloud.linux import LinuxCloud
from intertie.drivers.linux.frames import SegmentProbes
from intertie.drivers.linux.link_probe import LinkProbes
from intertie.drivers.linux.netns import Namespaces
from intertie.drivers.transport.vxlan import VxlanTransport
from intertie.federation import keys
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import Caller
from intertie.model.bodies import Address, IntroductionBody
from intertie.model.codec import decode
from intertie.model.errors import Refused
from intertie.model.items import Inventory
from intertie.planning.enrol import pin
from intertie.site_file import PEER_PORT, SiteFile, read_site
from intertie.store.sqlite import SqliteStore
from intertie.wiring import HostPings, InvitationTokens, PeerCalls, SiteKeys, SystemClock, Tried, Ulids

log = structlog.get_logger()


def _own_address() -> Address:
    """The address from which this machine would reach others; a UDP socket's connect sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return IPv4Address(probe.getsockname()[0])
        except OSError:
            return IPv4Address("127.0.0.1")


@dataclass(slots=True)
class Running:
    """Everything of one agent."""

    services: Services
    exchange: Exchange
    transport: TlsTransport
    calls: PeerCalls
    links: LinkProbes
    probes: SegmentProbes
    store: SqliteStore
    namespaces: Namespaces
    underlay: Address


def compose(dir: Path, site: SiteFile) -> Running:
    """Put the parts together. Nothing runs yet."""
    underlay = site.underlay or _own_address()
    key = keys.load(dir)
    clock = SystemClock()
    host = f"[{underlay}]" if underlay.version == 6 else str(underlay)
    settings = Settings(
        name=site.name,
        version=__version__,
        address=f"{host}:{PEER_PORT}" if site.address is None else site.address,
        location=site.location,
        introductions=site.introductions,
        heartbeat=site.heartbeat,
        round_every=site.round_every,
        probe_budget=site.probe_budget,
    )
    store = SqliteStore(dir / "intertie.db", site=site.name, decode=decode, marker=dir / "keys" / "marker")
    agent = Agent(settings, Ports(store=store, keys=SiteKeys(key), clock=clock, ids=Ulids()))
    transport = TlsTransport(key, clock.now, [listen(underlay, PEER_PORT)])
    calls = PeerCalls(transport, dir / "keys" / "pins.json")
    namespaces = Namespaces()
    cloud = LinuxCloud(site.name, namespaces)
    vxlan = VxlanTransport(site=site.name, namespaces=namespaces, underlay=underlay)
    links = LinkProbes()

    def on_loop(vpn: str) -> None:
        agent.loop_seen(vpn)

    probes = SegmentProbes(site=site.name, namespaces=namespaces, place=vxlan.place, on_loop=on_loop)
    health = Health(agent, probes, links)
    whispers = Whispers(agent, health, HostPings(cloud, namespaces))
    enrolment = Enrolment(agent, calls, InvitationTokens(key))
    exchange = Exchange(agent, calls, enrolment, whispers)

    tried = Tried(vxlan.probe)

    async def look() -> Inventory:
        return Inventory(networks=await cloud.inventory(), transports=(await tried.facts(),), underlay=(underlay,))

    services = Services(
        agent=agent,
        vpns=Vpns(agent, exchange, health, whispers),
        networks=Networks(agent, look),
        enrolment=enrolment,
        tokens=Tokens(agent),
        rounds=Rounds(agent, cloud, vxlan, health, look),
        health=health,
    )
    return Running(services, exchange, transport, calls, links, probes, store, namespaces, underlay)


class _Server(uvicorn.Server):
    """Two of them run in one agent: signals are the agent's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: object, site: SiteFile | None = None) -> _Server:
    """With `site`, over TLS if its settings say so; without, in clear (the site's own socket)."""
    return _Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ssl_certfile=(site.tls_certificate or None) if site else None,
            ssl_keyfile=(site.tls_key or None) if site else None,
            timeout_graceful_shutdown=3,
        )
    )


def _user_socket(site: SiteFile, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    host, _, port = site.listen_users.rpartition(":")
    address = ip_address(host.strip("[]"))
    if not address.is_loopback and not (site.tls_certificate and site.tls_key):
        raise Refused(
            f"listen_users: {address} is no loopback address, and tokens travel elsewhere only over TLS",
            hint="set tls_certificate and tls_key in site.toml, or listen on 127.0.0.1",
        )
    return listen(address, int(port))


def _unix_socket(dir: Path) -> socket.socket:
    path = dir / "api.sock"
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        # A path through /proc: a socket's address has room for 107 characters, directories are longer.
        directory = os.open(dir, os.O_PATH | os.O_DIRECTORY)
        try:
            sock.bind(f"/proc/self/fd/{directory}/api.sock")
        finally:
            os.close(directory)
    finally:
        os.umask(before)
    sock.listen(64)
    return sock


async def _recover_pins(running: Running) -> None:
    """A store that was lost knows nobody: those whom the file beside the keys names are trusted as before."""
    agent = running.services.agent
    kept = running.calls.kept()
    if not agent.recovering or agent.pins():
        return
    log.warning("the store was lost; taking records back from peers", peers=sorted(kept))
    bodies = [IntroductionBody(site=name, root=root) for name, root in kept.items()]
    await agent.write(lambda s: [pin(s.table, b) for b in bodies])


async def serve(dir: Path, fd: int | None) -> None:
    """Run the agent of `dir` until SIGTERM or SIGINT. What it forwards goes on without it."""
    site = read_site(dir)
    users = _user_socket(site, fd)
    running = compose(dir, site)
    services = running.services
    agent = services.agent
    await agent.open()
    await _recover_pins(running)
    await running.links.open(running.underlay)

    async def handle(caller: Caller | None, body: bytes) -> bytes:
        return await running.exchange.handle(caller.name if caller is not None else None, body)

    app = build(services)
    servers = [(_server(app, site), users), (_server(trusted(app)), _unix_socket(dir))]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(server.serve(sockets=[sock]), name="api") for server, sock in servers]
    tasks += [
        asyncio.create_task(running.transport.serve(handle), name="peers"),
        asyncio.create_task(services.rounds.run(), name="rounds"),
        asyncio.create_task(running.exchange.run(), name="exchange"),
        asyncio.create_task(services.health.run(), name="health"),
    ]
    stopped = asyncio.create_task(stop.wait())
    log.info("agent up", site=site.name, underlay=str(running.underlay), incarnation=agent.incarnation)
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    end_streams(app)
    for server, _ in servers:
        server.should_exit = True
    for task in (*tasks[2:], stopped):
        task.cancel()
    await asyncio.gather(*tasks, stopped, return_exceptions=True)
    running.links.close()
    await running.probes.close()
    await running.store.close()
    for task in done - {stopped}:
        # A part that ended by itself takes the agent down with it: better seen than half alive.
        task.result()
        raise RuntimeError(f"{task.get_name()} ended by itself")


def run_agent(dir: Path, fd: int | None = None) -> None:
    """Entry of `intertie agent run`."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), bool_as_flag=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    uvloop = _uvloop()
    with asyncio.Runner(loop_factory=uvloop) as runner:
        runner.run(serve(dir, fd))


def _uvloop() -> type[asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import Loop
    except ImportError:
        return None
    return Loop
