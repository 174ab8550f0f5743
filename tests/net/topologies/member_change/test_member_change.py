"""A member is removed and added again under a ping between the others, which lose nothing.

The removed one is then put back as it was, segment and filter and host, without an agent to know better: what it
sends arrives at the others' underlay, and goes no further.
"""

from __future__ import annotations

from intertie.model.items import Segment
from tests.net.topologies.frames import Wire, mac_of
from tests.net.topologies.rig import Rig, until
from tests.net.topologies.system import is_vxlan, put_back, segments
from tests.net.topologies.topology import HostThere, attachments
from tests.net.vxlan_lab import control


def change(rig: Rig, *members: str) -> None:
    wish = {"attachments": attachments(members)}
    rig["nantes"].put("/v1/vpns/stretch", wish, wait=20)


def members(rig: Rig, site: str) -> list[str]:
    return [member["site"] for member in rig[site].vpn("stretch")["members"]]


def from_b(rig: Rig, host: str) -> int:
    site = {"a": "nantes", "c": "rennes"}[host]
    return rig.see.answers(rig.ns("lyon", "b"), rig.address(site, host), timeout=1.5)


def test_removed_left_as_it_was_and_added_again(rig: Rig) -> None:
    here, there = rig.ns("nantes", "a"), rig.address("rennes", "c")
    assert (from_b(rig, "a"), from_b(rig, "c")) == (3, 3)
    (before,) = segments(rig, "lyon")
    assert {remote.site for remote in before.remotes} == {"nantes", "rennes"}
    with rig.see.stream(here, there) as stream:
        change(rig, "nantes:blue", "rennes")
        until("lyon has no segment", lambda: not segments(rig, "lyon"))
        assert members(rig, "rennes") == ["nantes", "rennes"]
        stream.go_on()
    stream.check()
    left_as_it_was(rig, before)
    taken_away_by_its_agent(rig)
    added_again(rig)


def left_as_it_was(rig: Rig, before: Segment) -> None:
    here, there = rig.ns("nantes", "a"), rig.address("rennes", "c")
    rig["lyon"].kill()
    put_back(rig, "lyon", before)
    assert segments(rig, "lyon") == (before,)
    underlay, inside = Wire.open(rig.at("nantes"), "uplink"), Wire.open(here)
    sender, honest = Wire.open(rig.ns("lyon", "b")), Wire.open(rig.ns("rennes", "c"))
    removed, other = mac_of(rig.ns("lyon", "b")), mac_of(rig.ns("rennes", "c"))
    try:
        with rig.see.stream(here, there) as stream:
            assert (from_b(rig, "a"), from_b(rig, "c")) == (0, 0)
            sender.send(control(removed, 1))
            underlay.until(lambda frame: is_vxlan(frame, rig["lyon"].underlay, before.vni))
            honest.send(control(other, 2))
            heard = inside.until(lambda frame: frame[:22] == control(other, 2)[:22])
        stream.check()
    finally:
        for wire in (underlay, inside, sender, honest):
            wire.close()
    assert not [frame for frame in heard if frame[6:12] == bytes.fromhex(removed.replace(":", ""))]


def taken_away_by_its_agent(rig: Rig) -> None:
    """Its records say that it is no member: an agent that starts there takes away what should not be."""
    rig["lyon"].start()
    rig["lyon"].wait_ready()
    until("lyon's agent has taken the segment away", lambda: not segments(rig, "lyon"))


def added_again(rig: Rig) -> None:
    here, there = rig.ns("nantes", "a"), rig.address("rennes", "c")
    rig.remove_host("lyon", "b")
    with rig.see.stream(here, there) as stream:
        change(rig, "nantes:blue", "rennes", "lyon:blue")
        rig.wait_settled(rig.topology.vpns[0])
        stream.go_on()
    stream.check()
    rig.host(HostThere(site="lyon", name="b", network="blue"))
    for version in (4, 6):
        assert rig.see.all_answer(rig.targets({"a": "nantes", "b": "lyon", "c": "rennes"}, version)) == {}
