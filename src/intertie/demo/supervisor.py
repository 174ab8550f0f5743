"""The demo's init: it owns the lab, starts and ends agents as told, and hands out shells.

One thread, one selector, short synchronous steps: a process that forks must have no threads, and an init
must reap. It restarts nothing by itself: an agent that died stays dead until `start`, and its site's
namespaces and listening socket stay open meanwhile. When its life line (a pipe held by the foreground
process) closes, it ends, and the kernel ends everything in the pid namespace with it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from intertie.demo import control
from intertie.demo.abort import USAGE
from intertie.demo.control import Reply, Request, SiteStatus
from intertie.demo.lab import Lab, Space
from intertie.demo.spawn import Job, spawn

GRACE = 5.0
"""Seconds that agents have to end by themselves."""


@dataclass(slots=True)
class Agent:
    """A site's agent process, or the lack of one."""

    space: Space
    listener: int
    directory: Path
    log: Path
    pid: int = 0
    exit: int | None = None
    wanted: bool = False


@dataclass(slots=True)
class Caller:
    """A client's connection, the process that it runs if any, and whether it wants to hear of exits."""

    socket: socket.socket
    pid: int = 0
    watches: bool = False


@dataclass(slots=True)
class Supervisor:
    """The loop. `agents` is keyed by site; `listener` is the control socket; `life` the life line."""

    lab: Lab
    agents: dict[str, Agent]
    listener: socket.socket
    life: int
    environment: Mapping[str, str]
    command: tuple[str, ...]
    """The agent's command line, up to where `--dir DIR --fd N` follow."""
    callers: list[Caller] = field(default_factory=list)
    stopping: float | None = None
    _selector: selectors.DefaultSelector = field(default_factory=selectors.DefaultSelector)

    def serve(self) -> None:
        """Until told to stop, or until the life line closes; then end the agents within GRACE seconds."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop())
        self._watch(wake_read, lambda: self._reap(wake_read))
        self._watch(self.life, self._life_ended)
        self._watch(self.listener, self._accept)
        while not self._finished():
            timeout = None if self.stopping is None else max(0.0, self.stopping - time.monotonic())
            for key, _ in self._selector.select(timeout):
                key.data()

    def _finished(self) -> bool:
        if self.stopping is None:
            return False
        return time.monotonic() >= self.stopping or not any(agent.pid for agent in self.agents.values())

    def _watch(self, what: int | socket.socket, act: Callable[[], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, act)

    def _life_ended(self) -> None:
        self._selector.unregister(self.life)
        self._stop()

    def _stop(self) -> None:
        if self.stopping is not None:
            return
        self.stopping = time.monotonic() + GRACE
        for agent in self.agents.values():
            agent.wanted = True
            if agent.pid:
                os.kill(agent.pid, signal.SIGTERM)

    def _reap(self, wake: int) -> None:
        """Collect every child that ended, ours or inherited, and tell whom it concerns."""
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        for name, agent in self.agents.items():
            if agent.pid == pid:
                agent.pid, agent.exit = 0, code
                told = Reply(event="exit", site=name, status=code, wanted=agent.wanted)
                for caller in [caller for caller in self.callers if caller.watches]:
                    self._tell(caller, told)
        for caller in [caller for caller in self.callers if caller.pid == pid]:
            caller.pid = 0
            self._tell(caller, Reply(event="ended", status=code))

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        caller = Caller(socket=connection)
        self.callers.append(caller)
        self._watch(connection, lambda: self._hear(caller))

    def _drop(self, caller: Caller) -> None:
        """A caller has gone: its program hears what a program hears when its terminal goes."""
        if caller not in self.callers:
            return
        self.callers.remove(caller)
        self._selector.unregister(caller.socket)
        caller.socket.close()
        if caller.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(caller.pid, signal.SIGHUP)
                os.killpg(caller.pid, signal.SIGCONT)

    def _tell(self, caller: Caller, reply: Reply) -> None:
        try:
            control.send(caller.socket, reply)
        except OSError:
            self._drop(caller)

    def _hear(self, caller: Caller) -> None:
        try:
            data, descriptors = control.receive(caller.socket)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._drop(caller)
            return
        try:
            request = control.decode_request(data)
            reply = self._act(caller, request, descriptors)
        except (ValueError, TypeError) as failure:
            reply = Reply(ok=False, detail=f"not a request: {failure}")
        except OSError as failure:
            reply = Reply(ok=False, detail=f"{request.do}: {failure}")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if reply is not None:
            self._tell(caller, reply)

    def _act(self, caller: Caller, request: Request, descriptors: list[int]) -> Reply | None:
        for name in (request.site, request.other):
            if name and name not in self.agents:
                return Reply(
                    ok=False, code=USAGE, detail=f"no site is called {name}", hint=f"sites: {', '.join(self.agents)}"
                )
        match request.do:
            case "run" if len(descriptors) == 3 and request.argv and request.site and not caller.pid:
                self._run(caller, request, (descriptors[0], descriptors[1], descriptors[2]))
                return None
            case "signal" if caller.pid and request.number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.killpg(caller.pid, request.number)
                return None
            case "start" if request.site:
                return self._start(self.agents[request.site])
            case "kill" if request.site:
                return self._kill(self.agents[request.site])
            case "cut" if request.site and request.other and request.site != request.other:
                self.lab.cut(request.site, request.other)
            case "heal":
                self.lab.heal()
            case "watch":
                caller.watches = True
            case "stop":
                self._stop()
            case "status":
                pass
            case _:
                return Reply(ok=False, code=USAGE, detail=f"{request.do}: not possible like this")
        return self._status()

    def _status(self) -> Reply:
        sites = tuple(
            SiteStatus(name=name, pid=agent.pid, exit=agent.exit, log=str(agent.log))
            for name, agent in self.agents.items()
        )
        return Reply(sites=sites, cuts=tuple(sorted(self.lab.cuts)))

    def _run(self, caller: Caller, request: Request, streams: tuple[int, int, int]) -> None:
        agent = self.agents[request.site]
        caller.pid = spawn(
            Job(
                argv=request.argv,
                enter=agent.space.entries,
                streams=streams,
                directory=agent.directory,
                environment={**self.environment, **request.environment},
                terminal=request.terminal,
            )
        )

    def _start(self, agent: Agent) -> Reply:
        name = agent.space.site.name
        if agent.pid:
            return Reply(ok=False, detail=f"the agent of {name} is running")
        if self.stopping is not None:
            return Reply(ok=False, detail="the demo is ending")
        agent.wanted = False
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        log = os.open(agent.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            agent.pid = spawn(
                Job(
                    argv=(*self.command, "--dir", str(agent.directory), "--fd", str(agent.listener)),
                    enter=agent.space.entries,
                    streams=(nothing, log, log),
                    directory=agent.directory,
                    environment=self.environment,
                    inherit=(agent.listener,),
                )
            )
        finally:
            os.close(nothing)
            os.close(log)
        return self._status()

    def _kill(self, agent: Agent) -> Reply:
        """SIGKILL, and no answer before the process is gone."""
        if not agent.pid:
            return Reply(ok=False, detail=f"the agent of {agent.space.site.name} is not running")
        agent.wanted = True
        pid = agent.pid
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self._ended(pid, os.waitstatus_to_exitcode(status))
        return self._status()
