"""SIGKILL under a 10 ms ping: what forwards goes on forwarding, when the agent dies, when it starts, and when it
starts without its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.net.topologies.hosts import Stream
from tests.net.topologies.rig import Rig, until
from tests.net.topologies.system import remains, segments


@contextmanager
def no_loss(rig: Rig) -> Iterator[list[Stream]]:
    """Streams both ways over the stretched and the routed networks, of which not one echo may be lost."""
    streams = [
        rig.see.stream(rig.ns("nantes", "a"), rig.address("lyon", "b")),
        rig.see.stream(rig.ns("lyon", "b"), rig.address("nantes", "a", 6)),
        rig.see.stream(rig.ns("nantes", "x"), rig.address("lyon", "y")),
        rig.see.stream(rig.ns("lyon", "y"), rig.address("nantes", "x", 6)),
    ]
    with streams[0], streams[1], streams[2], streams[3]:
        yield streams
        streams[0].go_on()
    for stream in streams:
        stream.check()


def settled(rig: Rig) -> None:
    for vpn in rig.topology.vpns:
        rig.wait_settled(vpn)


def at_peace(rig: Rig, site: str) -> bool:
    """Nothing to change, and nothing that no record explains."""
    plan = rig[site].get("/v1/plan")
    return not plan["changes"] and not plan["orphans"]


@pytest.mark.parametrize("victim", ["lyon", "nantes"], ids=["member", "home"])
def test_killed_and_started(rig: Rig, victim: str) -> None:
    before = set(segments(rig, victim)), remains(rig, victim)
    with no_loss(rig):
        rig[victim].kill()
    with no_loss(rig):
        rig[victim].start()
        rig[victim].wait_ready()
        settled(rig)
    assert (set(segments(rig, victim)), remains(rig, victim)) == before
    assert at_peace(rig, victim)


@pytest.mark.parametrize("victim", ["lyon", "nantes"], ids=["member", "home"])
def test_killed_and_started_without_its_database(rig: Rig, victim: str) -> None:
    """Its records come back from its peers; until then it takes nothing away."""
    site = rig[victim]
    before = set(segments(rig, victim)), remains(rig, victim)
    vpns = sorted(each["id"] for each in site.items("/v1/vpns"))
    with no_loss(rig):
        site.kill()
        site.lose_database()
    with no_loss(rig):
        site.start()
        site.wait_ready()
        until(f"{victim} has its Vpns back", lambda: sorted(v["id"] for v in site.items("/v1/vpns")) == vpns)
        settled(rig)
    assert (set(segments(rig, victim)), remains(rig, victim)) == before
    assert site.get("/v1/site")["recovering"] is False


def test_all_killed_at_once_and_started(rig: Rig) -> None:
    with no_loss(rig):
        for site in rig:
            site.kill()
    with no_loss(rig):
        for site in rig:
            site.start()
        for site in rig:
            site.wait_ready()
        settled(rig)
