"""Two sites' bridges are joined a second time, by a cable: seen, blocked, shown; and over when the cable is gone."""

from __future__ import annotations

import time

from pyroute2 import IPRoute

from tests.net.topologies.frames import Wire, mac_of
from tests.net.topologies.rig import Rig, index, until
from tests.net.topologies.system import segments
from tests.net.vxlan_lab import control

CABLE = "oops"
SEEN_WITHIN = 3.0


def plug(rig: Rig) -> None:
    """A cable between nantes' and lyon's bridges."""
    bridges = {
        site: next(n["bridge"] for n in rig[site].items("/v1/networks") if n["name"] == "blue")
        for site in ("nantes", "lyon")
    }

    def make(nl: IPRoute) -> None:
        with open(rig.at("lyon").path) as there:
            nl.link("add", ifname=CABLE, kind="veth", peer={"ifname": CABLE, "net_ns_fd": there.fileno()})

    rig.at("nantes").netlink(make)
    for site, bridge in bridges.items():
        rig.at(site).netlink(
            lambda nl, bridge=bridge: nl.link(  # type: ignore[misc]
                "set", index=index(nl, CABLE), master=index(nl, bridge), state="up"
            )
        )


def unplug(rig: Rig) -> None:
    rig.at("nantes").netlink(lambda nl: nl.link("del", ifname=CABLE))


def blocked(rig: Rig, site: str) -> bool:
    return any(segment.blocked for segment in segments(rig, site))


def test_a_loop_is_blocked_shown_and_over_when_it_is_gone(rig: Rig) -> None:
    assert rig.see.answers(rig.ns("nantes", "a"), rig.address("rennes", "c"), timeout=5.0) == 3
    begun = time.monotonic()
    plug(rig)
    until("a segment is blocked", lambda: blocked(rig, "nantes") or blocked(rig, "lyon"), SEEN_WITHIN)
    assert time.monotonic() - begun < SEEN_WITHIN
    ends = [site for site in ("nantes", "lyon") if blocked(rig, site)]
    for site in ends:
        assert rig[site].event("loop")["site"] == site
    no_storm(rig)
    found = rig[ends[0]].post("/v1/vpns/stretch/verify")
    assert not found["ok"]
    broken = [p for p in found["pairs"] if p["broken_at"] == "loop"]
    assert broken, found
    assert all("loop" in p["hint"] for p in broken)
    shown(rig, ends[0])
    unplug(rig)
    rig.wait_settled(rig.topology.vpns[0], seconds=60)
    assert not any(blocked(rig, site.name) for site in rig)
    assert rig.see.answers(rig.ns("nantes", "a"), rig.address("rennes", "c"), timeout=5.0) == 3
    assert rig.see.answers(rig.ns("nantes", "a"), rig.address("lyon", "b"), timeout=5.0) == 3


def no_storm(rig: Rig) -> None:
    """One broadcast of a's is heard once by each host that can hear it, and not a thousand times."""
    hosts = {"b": "lyon", "c": "rennes"}
    sender = Wire.open(rig.ns("nantes", "a"))
    ears = {host: Wire.open(rig.ns(site, host)) for host, site in hosts.items()}
    source = mac_of(rig.ns("nantes", "a"))
    try:
        sender.send(control(source, 7))
        for host, ear in ears.items():
            heard = ear.during(1.0)
            copies = [frame for frame in heard if frame[:22] == control(source, 7)[:22]]
            assert len(copies) <= 1, f"{host} heard {len(copies)} copies"
            assert len(heard) < 200, f"{host} heard {len(heard)} frames in a second"
    finally:
        for wire in (sender, *ears.values()):
            wire.close()


def shown(rig: Rig, site: str) -> None:
    """`vpn show` says that it is not well, and why."""
    told = rig[site].vpn("stretch")
    assert told["phase"] != "ready"
    assert "loop" in told["reason"], told
