"""A real Keystone and Neutron for these tests: two regions that share a Keystone, and two clouds that share nothing.

Both labs are started at most once a run, when the first test asks; each test makes objects with names of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.regions import Lab, Wish, running

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
