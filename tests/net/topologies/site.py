"""One site of a topology: its namespaces, its agent's process, and its REST API over the agent's own socket.

A site's namespaces hang on an anchor, a process that does nothing: so they outlive the agent, and everything in them
can be reached through the anchor's /proc.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from intertie.demo.lab import Space
from intertie.demo.sites import DemoSite
from intertie.demo.spawn import Job, spawn
from tests.net.topologies.hosts import Network

BEAT = 0.05
PATIENCE = 30.0
SECONDS = 40.0


def until(what: str, ready: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Ask again until `ready` says something true; the seconds that took. AssertionError when patience ends."""
    begun = time.monotonic()
    while not ready():
        assert time.monotonic() - begun < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(BEAT)
    return time.monotonic() - begun


@dataclass(slots=True)
class Site:
    """One site: its namespaces, its agent's process (0: none), and its API."""

    place: DemoSite
    space: Space
    directory: Path
    underlay: str
    pid: int = 0
    anchor: int = 0
    program: tuple[str, ...] = ("-m", "intertie")
    """What Python runs as the agent."""
    seconds: float = SECONDS
    """For an answer of the API."""
    machines: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _client: httpx.Client | None = None

    @property
    def name(self) -> str:
        return self.place.name

    # --- processes

    def _spawn(self, argv: tuple[str, ...]) -> int:
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        log = os.open(self.directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            job = Job(
                argv=argv,
                enter=self.space.entries,
                streams=(nothing, log, log),
                directory=self.directory,
                environment=os.environ,
            )
            return spawn(job)
        finally:
            os.close(nothing)
            os.close(log)

    def drop_anchor(self) -> None:
        self.anchor = self._spawn(("sleep", "infinity"))
        own = network_of(os.getpid())
        until("the anchor is in its namespaces", lambda: network_of(self.anchor) != own)

    def machine(self, name: str) -> Network:
        """The namespace of a machine that is not Intertie's; made when it is first asked for."""
        if name not in self.machines:
            pid = self.machines[name] = self._spawn(("unshare", "-n", "sleep", "infinity"))
            taken = (network_of(os.getpid()), network_of(self.anchor))
            until(f"machine {name}", lambda: network_of(pid) not in taken)
        return Network(f"/proc/{self.machines[name]}/ns/net")

    def start(self) -> None:
        """The agent's process; `wait_ready` sees when it answers."""
        assert not self.pid
        (self.directory / "api.sock").unlink(missing_ok=True)
        self.pid = self._spawn((sys.executable, *self.program, "agent", "run", "--dir", str(self.directory)))

    def wait_ready(self) -> None:
        until(f"the agent of {self.name} is ready", self._ready)

    def _ready(self) -> bool:
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        assert not ended, f"the agent of {self.name} ended with {status}:\n{self.log()}"
        try:
            return self.client.get("/readyz", timeout=2.0).is_success
        except httpx.TransportError:
            return False

    def log(self, lines: int = 30) -> str:
        return "\n".join((self.directory / "log").read_text(errors="replace").splitlines()[-lines:])

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the agent with a signal; when this returns it is gone."""
        pid, self.pid = self.pid, 0
        if pid:
            os.kill(pid, number)
            os.waitpid(pid, 0)
        self.hang_up()

    def lose_database(self) -> None:
        """Delete the store, with what SQLite keeps beside it. The keys stay."""
        assert not self.pid
        found = [path for path in self.directory.glob("intertie.db*") if path.is_file()]
        assert found, sorted(self.directory.iterdir())
        for path in found:
            path.unlink()

    def close(self) -> None:
        self.kill()
        for pid in (*self.machines.values(), self.anchor):
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        os.close(self.space.net)
        os.close(self.space.mnt)

    # --- the API

    @property
    def client(self) -> httpx.Client:
        if self._client is None:
            transport = httpx.HTTPTransport(uds=str(self.directory / "api.sock"))
            self._client = httpx.Client(base_url="http://agent", transport=transport, timeout=self.seconds)
        return self._client

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        project: str = "demo",
        wait: float = 0.0,
        token: str = "",
    ) -> httpx.Response:
        """One request as the operator, acting for `project`; with `token`, as whoever that is."""
        headers = {"X-Intertie-Project": project}
        if token:
            headers = {"Authorization": f"Bearer {token}"}
        if wait:
            headers["Prefer"] = f"wait={wait:g}"
        if method in ("PUT", "DELETE"):
            headers["If-Match"] = "*"
        return self.client.request(method, path, json=body, headers=headers)

    def get(self, path: str, **how: Any) -> Any:
        return self._told(self.call("GET", path, **how))

    def post(self, path: str, body: object = None, **how: Any) -> Any:
        return self._told(self.call("POST", path, body, **how))

    def put(self, path: str, body: object, **how: Any) -> Any:
        return self._told(self.call("PUT", path, body, **how))

    def delete(self, path: str, **how: Any) -> httpx.Response:
        answer = self.call("DELETE", path, **how)
        assert answer.is_success, answer.text
        return answer

    def items(self, path: str, **how: Any) -> list[Any]:
        return list(self.get(path, **how)["items"])

    def _told(self, answer: httpx.Response) -> Any:
        assert answer.is_success, f"{self.name}: {answer.request.method} {answer.request.url}: {answer.text}"
        return answer.json()

    # --- what stands there

    def vpn(self, name: str, **how: Any) -> Any:
        return self.get(f"/v1/vpns/{name}", **how)

    def settled(self, name: str, **how: Any) -> bool:
        """Whether the Vpn is ready as this site sees it, every member included."""
        answer = self.call("GET", f"/v1/vpns/{name}", **how)
        told = answer.json()
        return answer.is_success and told["phase"] == "ready" and all(m["health"] == "ready" for m in told["members"])

    def health(self, vpn: str, one: str, other: str) -> str:
        """Health of a pair of members as this site sees it."""
        pairs = self.vpn(vpn)["pairs"]
        return str(next(p["health"] for p in pairs if {p["from"], p["to"]} == {one, other}))

    def event(self, kind: str, seconds: float = 10.0) -> dict[str, Any]:
        """The first event of that kind since the agent started; waited for. AssertionError if none comes."""
        headers = {"Last-Event-ID": "0"}
        ends = time.monotonic() + seconds
        with self.client.stream("GET", "/v1/events", headers=headers, timeout=seconds) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: ") and (told := json.loads(line[6:]))["kind"] == kind:
                    return dict(told)
                if time.monotonic() > ends:
                    break
        raise AssertionError(f"no event {kind} at {self.name} within {seconds:g} s")

    def agent_quiet(self) -> bool:
        """Whether the next round would change nothing."""
        return not self.get("/v1/plan")["changes"]


def network_of(pid: int) -> str:
    """Which network namespace a process is in."""
    return os.readlink(f"/proc/{pid}/ns/net")
