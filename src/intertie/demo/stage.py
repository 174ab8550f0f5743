"""The stage: listening sockets outside, namespaces and supervisor inside, and the end of all of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from intertie.demo import control, state
from intertie.demo.abort import USAGE, Abort
from intertie.demo.control import Control, Request
from intertie.demo.inside import Config
from intertie.demo.sites import DemoSite

HOST = "127.0.0.1"
AGENT = (sys.executable, "-m", "intertie", "agent", "run")
_BUILD_SECONDS = 60.0
_END_SECONDS = 15.0


def _listener(site: DemoSite, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as failure:
        listening.close()
        raise Abort(
            f"{HOST}:{port}, wanted for {site.name}, cannot be had: {failure.strerror}",
            hint="choose another base: --port 7675 (site i is at port + i)",
            code=USAGE,
        ) from failure
    return listening


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals wait meanwhile, so that what was begun is known to who must end it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stage:
    """A context: on entry the lab stands and no agent runs; on exit nothing is left.

    `agent` is the agent's command line, up to where `--dir DIR --fd N` follow.
    """

    def __init__(self, sites: Sequence[DemoSite], port: int, agent: tuple[str, ...] = AGENT) -> None:
        self.sites = tuple(sites)
        self._port, self._agent = port, agent
        self._state: state.State | None = None
        self._life: int | None = None
        self._inside: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> Path:
        assert self._state is not None
        return self._state.base

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.base / "control"

    def url(self, site: DemoSite) -> str:
        return f"http://{HOST}:{self._port + site.index}"

    def log(self, site: DemoSite) -> Path:
        return self.base / "logs" / f"{site.name}.log"

    def directory(self, site: DemoSite) -> Path:
        return self.base / "sites" / site.name

    def write_serving(self, serving: state.Serving) -> None:
        """Let other terminals know."""
        assert self._state is not None
        self._state.write_serving(serving)

    def __enter__(self) -> Stage:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Put the stage up. When this fails, or is interrupted, `close` clears away what it came to."""
        with _uninterrupted():
            self._state = state.hold(state.place())
        self._state.note(self.url(self.sites[0]))
        self._state.furnish(tuple(site.name for site in self.sites))
        self._raise()

    def _raise(self) -> None:
        """Open the sockets, start the process that goes inside, hear whether it stands."""
        listeners: list[socket.socket] = []
        report_read, report_write = os.pipe()
        life_read, self._life = os.pipe()
        try:
            listeners.extend(_listener(site, self._port + site.index) for site in self.sites)
            listeners.append(control.listen(self.control))
            config = Config(
                state=str(self.base),
                listeners=tuple(each.fileno() for each in listeners[:-1]),
                control=listeners[-1].fileno(),
                life=life_read,
                report=report_write,
                agent=self._agent,
            )
            with open(self.base / "logs" / "supervisor.log", "wb") as log, _uninterrupted():
                self._inside = subprocess.Popen(
                    [sys.executable, "-m", "intertie.demo.inside", config.encode()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=config.descriptors,
                    start_new_session=True,
                    cwd="/",
                )
            os.close(report_write)
            report_write = -1
            self._hear(report_read)
        finally:
            for each in listeners:
                each.close()
            for descriptor in (report_read, report_write, life_read):
                if descriptor >= 0:
                    os.close(descriptor)

    def _hear(self, report: int) -> None:
        readable, _, _ = select.select([report], [], [], _BUILD_SECONDS)
        line = os.read(report, 65536) if readable else b""
        if not line:
            log = (self.base / "logs" / "supervisor.log").read_text(errors="replace")
            raise Abort("the namespaces could not be made", hint=log[-2000:].strip())
        told = json.loads(line)
        if not told["ok"]:
            raise Abort(told["detail"], hint=told["hint"], code=told["code"])

    def initialise(self) -> None:
        """`intertie init` for every site, in its own namespace, all at once. Abort with the log if one fails."""
        jobs: list[tuple[DemoSite, Control]] = []
        for site in self.sites:
            with open(os.devnull, "rb") as nothing, open(self.log(site), "ab") as log:
                connection = Control(self.control)
                jobs.append((site, connection))
                streams = (nothing.fileno(), log.fileno(), log.fileno())
                connection.send(Request(do="run", site=site.name, argv=self._init_command(site)), streams)
        for site, connection in jobs:
            with connection:
                reply = connection.receive()
            if not reply.ok or reply.status != 0:
                raise Abort(f"intertie init failed at {site.name} {reply.detail}", hint=self.last_words(site))

    def _init_command(self, site: DemoSite) -> tuple[str, ...]:
        return (
            *(sys.executable, "-m", "intertie", "init"),
            *("--name", site.name, "--dir", str(self.directory(site))),
            *("--location", f"{site.lat},{site.lon}", "--underlay", str(site.underlay.ip)),
        )

    def start(self) -> None:
        """Start every agent."""
        with Control(self.control) as connection:
            for site in self.sites:
                connection.ask(Request(do="start", site=site.name))

    def ended(self) -> list[DemoSite]:
        """The sites whose agent has ended by itself."""
        with Control(self.control) as connection:
            told = connection.ask(Request(do="status")).sites
        gone = {site.name for site in told if not site.pid and site.exit is not None}
        return [site for site in self.sites if site.name in gone]

    def last_words(self, site: DemoSite, lines: int = 15) -> str:
        """The end of a site's log."""
        try:
            written = self.log(site).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(written[-lines:])

    def close(self) -> None:
        """End everything, in this order: agents, namespaces, files."""
        if self._life is not None:
            os.close(self._life)
            self._life = None
        if self._inside is not None:
            try:
                self._inside.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._inside.kill()  # its init dies with it, and everything with its init
                self._inside.wait()
            self._inside = None
        if self._state is not None:
            state.wait_for_init(self.base)
            self._state.remove()
            self._state = None
