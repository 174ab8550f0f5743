"""A real Keystone and Neutron for these tests: two regions that share a Keystone, and two clouds that share nothing;
and, for root, either with packets and an Intertie agent beside each.

Each lab is started at most once a run, when the first test asks; each test makes objects with names of its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.beside import agents
from lab.regions import Lab, Wish, running
from lab.sites import HOST_ADDRESS
from tests.conftest import lacks, refusal
from tests.net.topologies.hosts import Hosts
from tests.openstack.joined import Joined

SPAN = 20
"""Ports of one lab, from its first."""


def free_base() -> int:
    """The first of SPAN ports that are all free."""
    for base in range(15000, 30000, SPAN):
        with ExitStack() as held:
            try:
                for port in range(base, base + SPAN):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return base
    raise RuntimeError("no ports are free")


@pytest.fixture(scope="session")
def regions() -> Iterator[Lab]:
    """regionone and regiontwo, one Keystone."""
    with running(Wish(layout="shared", base=free_base())) as lab:
        yield lab


@pytest.fixture(scope="session")
def clouds() -> Iterator[Lab]:
    """regionone and regiontwo, each with a Keystone of its own."""
    with running(Wish(layout="independent", base=free_base())) as lab:
        yield lab


def real_root() -> bool:
    """Not merely in a user namespace, where Open vSwitch and MariaDB do not get all that they want."""
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


@pytest.fixture(scope="session")
def joined(request: pytest.FixtureRequest) -> Iterator[Joined]:
    """Two regions with agents, known to each other, and packets. Its parameter is `LAYOUT` or `LAYOUT/DATA-PLANE`;
    tests with one are run together, since there is one such lab at a time."""
    if not real_root():
        lacks("regions with packets need root: Open vSwitch in namespaces")
    if reason := request.config.stash.get(refusal, ""):
        lacks(reason)
    layout, _, plane = str(request.param).partition("/")
    wish = Wish(layout=layout, base=free_base(), address=HOST_ADDRESS, data_plane=plane or "ovn")
    with running(wish) as lab, agents(lab) as beside:
        see = Hosts()
        yield Joined(lab, beside, see)
        see.close()
