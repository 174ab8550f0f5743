"""Intertie agents beside the regions of a lab: one in each site's namespace, enrolled, projects `demo` mapped."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from intertie.client import Client, connect
from intertie.model.errors import IntertieError
from lab.environment import LabError
from lab.regions import Lab
from lab.settings import Region
from lab.sites import Site, run

NAMES = ("nantes", "lyon", "rennes", "brest")
USERS = 7575
SLOW = 90.0
"""Seconds for an agent to come up, Neutron's first answer included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One agent. `tenant` speaks for project demo of its cloud, `operator` for the site."""

    name: str
    region: Region
    site: Site
    dir: Path
    url: str
    project: str
    token: str
    tenant: Client
    operator: Client


@contextmanager
def agents(lab: Lab, base: int = USERS) -> Iterator[list[Beside]]:
    """Agents of all regions, until the block ends. User APIs are on the host's 127.0.0.1, from port `base` on."""
    with ExitStack() as ends:
        ends.callback(_clear, NAMES[: len(lab.regions)])
        for number in range(len(lab.regions)):
            _start(lab, number, base + number, ends)
        found = [_beside(lab, number, base + number, ends) for number in range(len(lab.regions))]
        _enrol(found)
        yield found


def _start(lab: Lab, number: int, port: int, ends: ExitStack) -> None:
    name, region, site = NAMES[number], lab.regions[number], lab.sites[number]
    dir = lab.folder / name
    program = Path(sys.executable).parent / "intertie"
    init: list[str | Path] = [program, "init", "--name", name, "--dir", dir, "--underlay", site.underlay]
    subprocess.run(init, check=True, capture_output=True)
    settings = {"cloud": region.cloud, "clouds_file": str(lab.service_yaml), "ovsdb": site.ovsdb}
    with (dir / "site.toml").open("a") as file:
        file.write("".join(["\n[openstack]\n", *(f'{key} = "{value}"\n' for key, value in settings.items())]))
    with closing(socket.create_server(("127.0.0.1", port))) as users:
        fd = users.fileno()
        log = ends.enter_context((dir / "agent.log").open("w"))
        command = site.inside(program, "agent", "run", "--dir", dir, "--fd", str(fd))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[fd])
    ends.callback(_end, process)


def _clear(names: Sequence[str]) -> None:
    """Routers that agents made go with the lab, whatever Vpns were left."""
    for space in run("ip", "netns", "list").split():
        if space.startswith(tuple(f"{name}-r-" for name in names)):
            run("ip", "netns", "delete", space)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _beside(lab: Lab, number: int, port: int, ends: ExitStack) -> Beside:
    """The agent, once it answers."""
    dir, url = lab.folder / NAMES[number], f"http://127.0.0.1:{port}"
    project = lab.tenants[lab.regions[number].keystone]["demo"]
    operator = ends.enter_context(_up(dir))
    token = operator.tokens.create(project).value.token
    return Beside(
        name=NAMES[number],
        region=lab.regions[number],
        site=lab.sites[number],
        dir=dir,
        url=url,
        project=project,
        token=token,
        tenant=ends.enter_context(connect(url, token=token)),
        operator=operator,
    )


def _up(dir: Path) -> Client:
    end = time.monotonic() + SLOW
    while True:
        try:
            client = connect(dir=dir)
            client.site()
            return client
        except (IntertieError, OSError) as error:
            if time.monotonic() > end:
                raise LabError(f"the agent of {dir} does not come up: {error}") from error
            time.sleep(0.2)


def _enrol(found: Sequence[Beside]) -> None:
    first, *others = found
    for each in others:
        each.operator.peers.join(first.operator.invite(each.name).value.token)
    pairs = [(a, b) for a in found for b in found if a is not b]
    end = time.monotonic() + SLOW
    for a, b in pairs:
        while b.name not in {peer.name for peer in a.operator.peers.list() if peer.state == "up"}:
            if time.monotonic() > end:
                raise LabError(f"{a.name} and {b.name} do not come to know each other")
            if any(p.name == b.name and p.introduced_by for p in a.operator.peers.list()):
                a.operator.peers.approve(b.name)
            time.sleep(0.2)
        a.operator.peers.map(b.name, b.project, a.project)
