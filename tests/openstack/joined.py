"""What tests do with regions that agents join: networks, machines and Vpns that are gone when a block ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from intertie.client import Attachment, Client, Terms, VpnKind, VpnRequest, created, deleted
from intertie.model.views import VpnView
from lab.beside import Beside
from lab.machines import Machine
from lab.place import Place
from lab.regions import Lab
from tests.net.topologies.hosts import Hosts, Network

PATIENCE = 60.0
T = TypeVar("T")


class Joined:
    """A lab with packets. `see` looks out of machines."""

    def __init__(self, lab: Lab, agents: Sequence[Beside], see: Hosts) -> None:
        self.lab, self.agents, self.see = lab, agents, see
        self.one, self.two = (Place(agent) for agent in agents[:2])


def space(name: str) -> Network:
    return Network(f"/run/netns/{name}")


def inside(machine: Machine) -> Network:
    return space(machine.namespace)


def until(fact: Callable[[], T], within: float = PATIENCE) -> T:
    """What `fact` says, as soon as that is true."""
    end = time.monotonic() + within
    while not (found := fact()):
        assert time.monotonic() < end, f"not within {within:g} s: {fact.__doc__ or fact}"
        time.sleep(0.3)
    return found


def reaches(see: Hosts, source: Network, address: str) -> None:
    """Within a while an echo comes back, and then ten of ten."""

    def answered() -> bool:
        """an echo comes back"""
        return see.answers(source, address, count=1) == 1

    until(answered)
    assert see.answers(source, address, count=10) == 10


@contextmanager
def vpn(home: Client, name: str, kind: VpnKind, *attachments: Attachment) -> Iterator[VpnView]:
    """A Vpn that is ready; taken away as the block ends, whatever came of it."""
    wish = VpnRequest(name=name, kind=kind, attachments=attachments)
    seen = created(home, wish, Terms(wait=PATIENCE)).checked().value
    assert isinstance(seen, VpnView)
    try:
        yield seen
    finally:
        deleted(home, home.vpns.get(seen.id), force=False, terms=Terms(wait=PATIENCE))
