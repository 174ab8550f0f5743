"""`python -m intertie.demo.inside CONFIG`: the way in. Two processes:

    outer one   enters the namespaces, forks, waits; dies with the foreground process
    init        mounts, builds the lab, serves as supervisor; dies with the outer one

What goes wrong before the control socket answers is told on the report descriptor, as one JSON line.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from intertie.demo import kernel, state
from intertie.demo.abort import Abort


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the foreground process hands over: descriptors, and where the sites keep their files."""

    state: str
    listeners: tuple[int, ...]
    """One a site: its user API's listening socket."""
    control: int
    life: int
    report: int
    agent: tuple[str, ...]
    """The agent's command line, up to where `--dir DIR --fd N` follow."""

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (*self.listeners, self.control, self.life, self.report)


def decode(text: str) -> Config:
    """The inverse of `Config.encode`."""
    fields = json.loads(text)
    return Config(**{**fields, "listeners": tuple(fields["listeners"]), "agent": tuple(fields["agent"])})


def _environment(base: Path) -> dict[str, str]:
    """What agents and shells inherit: nothing that would lead their clients elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERTIE_")}
    return {**kept, "PATH": f"{kept.get('PATH', os.defpath)}:{base / 'bin'}", "PYTHONUNBUFFERED": "1"}


def _serve(config: Config) -> None:
    """As init: everything, until the end."""
    from intertie.demo import lab, sites, supervisor

    base = Path(config.state)
    chosen = sites.chosen(len(config.listeners))
    built = lab.build(chosen)
    agents = {
        site.name: supervisor.Agent(
            space=built.spaces[site.name],
            listener=listener,
            directory=base / "sites" / site.name,
            log=base / "logs" / f"{site.name}.log",
        )
        for site, listener in zip(chosen, config.listeners, strict=True)
    }
    loop = supervisor.Supervisor(
        lab=built,
        agents=agents,
        listener=socket.socket(fileno=config.control),
        life=config.life,
        environment=_environment(base),
        command=config.agent,
    )
    os.write(config.report, b'{"ok":true}\n')
    os.close(config.report)
    loop.serve()


def _tell(config: Config, abort: Abort) -> None:
    line = json.dumps({"ok": False, "detail": abort.detail, "hint": abort.hint, "code": abort.code})
    os.write(config.report, line.encode() + b"\n")


def _init(config: Config) -> int:
    """Process 1 of the new pid namespace; its exit code."""
    try:
        kernel.die_with_parent()
        kernel.furnish()
        _serve(config)
    except Abort as abort:
        _tell(config, abort)
        return abort.code
    return 0


def main(arguments: list[str]) -> int:
    """Enter the namespaces and wait for what happens there; the exit code."""
    config = decode(arguments[0])
    for descriptor in config.descriptors:
        os.set_inheritable(descriptor, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    try:
        kernel.die_with_parent()
        kernel.enter()
        kernel.die_with_parent()  # a change of credentials takes it back
    except Abort as abort:
        _tell(config, abort)
        return abort.code
    pid = os.fork()
    if pid == 0:
        return _init(config)
    state.write_init(Path(config.state), pid)
    for descriptor in config.descriptors:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
