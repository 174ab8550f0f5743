"""A federation of two sites of which one, nantes, has two agents: one directory, one PostgreSQL database.

    nantes: agent 1, agent 2 ── PostgreSQL (Unix socket)          lyon: one agent, SQLite

Both agents of nantes serve its ports; who connects reaches one that lives.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx

from intertie.demo.lab import Space
from intertie.demo.sites import DemoSite
from intertie.testing.postgres_server import PostgresServer
from tests.net.topologies.hosts import Stream
from tests.net.topologies.rig import Rig, Site, until
from tests.net.topologies.topology import HostThere, NetworkThere, Topology, VpnThere

HOME, PEER = "nantes", "lyon"
TOPOLOGY = Topology(
    sites=(HOME, PEER),
    networks=(NetworkThere(site=HOME, name="blue", prefix="10.10.0.0/24"),),
    vpns=(VpnThere(name="stretch", kind="l2", attachments=("nantes:blue", "lyon")),),
    hosts=(
        HostThere(site=HOME, name="a", network="blue"),
        HostThere(site=PEER, name="b", network="blue"),
    ),
)


class PairRig(Rig):
    """`second` is the process of nantes' second agent; the first is the site's own."""

    def __init__(self, directory: Path, server: PostgresServer) -> None:
        super().__init__(TOPOLOGY, directory)
        self.server = server
        self.database = "nantes"
        self.url = server.create(self.database)
        self.second = 0
        self.token = ""

    def _settle(self, place: DemoSite, space: Space) -> None:
        super()._settle(place, space)
        with (self[place.name].directory / "site.toml").open("a") as settings:
            settings.write("heartbeat = 2.0\nround_every = 1.0\n")
            if place.name == HOME:
                settings.write(f'store = "{self.url}"\n')

    @property
    def home(self) -> Site:
        return self[HOME]

    def build(self) -> None:
        super().build()
        self.token = self.home.post("/v1/tokens", {"project": "demo", "role": "admin"})["token"]
        self.start(2)

    # ── Processes ──────────────────────────────────────────────────────────────────────────────────────────

    def kill(self, which: int) -> None:
        """SIGKILL; nothing is said to anybody."""
        pid = self.home.pid if which == 1 else self.second
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if which == 1:
            self.home.pid = 0
        else:
            self.second = 0

    def start(self, which: int) -> None:
        before = self.ups()
        argv = (sys.executable, *self.home.program, "agent", "run", "--dir", str(self.home.directory))
        pid = self.home._spawn(argv)
        if which == 1:
            self.home.pid = pid
        else:
            self.second = pid
        self._wait_up(pid, before)

    def ups(self) -> int:
        return self.home.log(lines=100_000).count('event="agent up"')

    def _wait_up(self, pid: int, before: int) -> None:
        def up() -> bool:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.second = 0 if pid == self.second else self.second
                self.home.pid = 0 if pid == self.home.pid else self.home.pid
            assert not ended, f"an agent of {HOME} ended with {status}:\n{self.home.log()}"
            return self.ups() > before

        until(f"an agent of {HOME} is up", up)

    def close(self) -> None:
        if self.second:
            self.kill(2)
        super().close()

    def pings_between(self) -> list[Stream]:
        """Streams between the hosts of the two sites, both ways."""
        hosts = {"a": HOME, "b": PEER}
        return [self.see.stream(*target, 0.05) for target in self.targets(hosts, 4).values()]

    # ── Users ──────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, method: str, path: str, body: object = None, key: str = "", wait: float = 0.0) -> httpx.Response:
        """One request on a connection of its own to nantes' port; if that breaks, or nobody took it, once more."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if key:
            headers["Idempotency-Key"] = key
        if wait:
            headers["Prefer"] = f"wait={wait:g}"

        def once() -> httpx.Response:
            with httpx.Client(base_url="http://127.0.0.1:7575", timeout=20.0) as client:
                return client.request(method, path, json=body, headers=headers)

        def twice() -> httpx.Response:
            try:
                return once()
            except httpx.TransportError:
                return once()

        return self.at(HOME).run(twice)
