"""ML2/OVS: Neutron's Open vSwitch agent in each site, which does what Neutron says of ports."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.environment import SBIN, LabError, python
from lab.neutron import Neutron
from lab.process import confined
from lab.settings import Region, Sections, ini
from lab.sites import Site

SLOW = 90.0
"""Seconds for an agent to have told Neutron of itself: it starts many helpers."""


def settings(folder: Path, site: Site, region: Region) -> Sections:
    """Of the agent. There is no sudo: it runs its helpers as what it is itself, root."""
    bagpipe = region.data_plane == "bagpipe"
    found: dict[str, Mapping[str, object]] = {
        "DEFAULT": {
            "host": site.name,
            "transport_url": region.broker,
            "state_path": folder / "state",
            "rpc_response_timeout": 30,
        },
        "oslo_concurrency": {"lock_path": folder / "lock"},
        "ovs": {
            "ovsdb_connection": "tcp:127.0.0.1:6640",
            "datapath_type": "netdev",
            "local_ip": site.underlay,
            "of_listen_address": "127.0.0.1",
        },
        "agent": {
            "tunnel_types": "vxlan",
            "l2_population": True,
            "arp_responder": True,
            "root_helper": "env",
            "polling_interval": 1,
            **({"extensions": "bagpipe_bgpvpn"} if bagpipe else {}),
        },
        "securitygroup": {"firewall_driver": "openvswitch"},
        "privsep": {"helper_command": "env privsep-helper"},
    }
    if bagpipe:
        found["BAGPIPE"] = {"mpls_bridge": "br-mpls"}
    return found


@contextmanager
def running(folder: Path, sites: list[Site], regions: list[Region]) -> Iterator[None]:
    """An agent in each site, until the block ends; Neutron knows of each as the block begins."""
    folder.mkdir()
    with ExitStack() as ends:
        for site, region in zip(sites, regions, strict=True):
            own = folder / site.name
            own.mkdir()
            (own / "agent.conf").write_text(ini(settings(own, site, region)))
            program = python().parent / "neutron-openvswitch-agent"
            start(ends, site, own / "agent.log", program, "--config-file", own / "agent.conf")
        for site, region in zip(sites, regions, strict=True):
            _until_alive(Neutron(region), site, folder)
        yield


def start(ends: ExitStack, site: Site, log: Path, *command: str | Path) -> None:
    """A program of the environment in a site, until `ends` do; then whatever it started has ended too."""
    places = {"OVS_RUNDIR": str(site.folder), "PATH": f"{python().parent}:{SBIN}"}
    with log.open("w") as out:
        process = subprocess.Popen(
            site.inside(*confined(*command)),
            env={**os.environ, **places},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    ends.callback(_kill, process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _until_alive(neutron: Neutron, site: Site, folder: Path) -> None:
    end = time.monotonic() + SLOW
    while not any(each["alive"] for each in neutron.list("agent", host=site.name)):
        if time.monotonic() > end:
            raise LabError(f"the Open vSwitch agent of {site.name} does not come up: see {folder}/{site.name}")
        time.sleep(0.5)
