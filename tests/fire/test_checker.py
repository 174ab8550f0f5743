"""The checks can fail: what they look for is put there, and they say so."""

from __future__ import annotations

from tests.fire.checker import Cloud, HostSeen, SegmentSeen, always, everywhere, look, writes
from tests.fire.conftest import Fire
from tests.fire.ledger import Host
from tests.fire.settled import out, wrong
from tests.net.topologies.hosts import Network
from tests.net.topologies.rig import index

ONE, OTHER = "10.10.0.2", "10.10.0.3"


def cloud(site: str, vpn: str = "v", **hosts: str) -> Cloud:
    """One segment, VNI 7, on bridge br, and hosts on that with an address each."""
    return Cloud(
        site=site,
        hosts={name: HostSeen(addresses=frozenset({address}), bridge="br") for name, address in hosts.items()},
        segments={7: SegmentSeen(place="br", vpn=vpn)},
        devices=frozenset({"br"}),
        bridges=1,
    )


def test_an_address_and_a_number_have_one_holder() -> None:
    assert always([cloud("nantes", a=ONE), cloud("lyon", b=OTHER)], {}) == []
    assert always([cloud("nantes", a=ONE), cloud("lyon", b=ONE)], {})[0].startswith("I1: 10.10.0.2 in VNI 7")
    assert always([cloud("nantes", "v"), cloud("lyon", "w")], {})[0].startswith("I1: VNI 7")


def test_a_bridge_has_one_project() -> None:
    clouds = [cloud("nantes", a=ONE, b=OTHER)]
    assert always(clouds, {("nantes", "a"): "demo", ("nantes", "b"): "demo"}) == []
    assert always(clouds, {("nantes", "a"): "demo", ("nantes", "b"): "other"})[0].startswith("I17: bridge br")


def give(host: Network, address: str) -> None:
    host.netlink(lambda nl: nl.addr("add", index=index(nl, "eth0"), address=address, prefixlen=24))


def said(fire: Fire, invariant: str) -> bool:
    return any(words.startswith(invariant) for words in wrong(fire.rig, fire.ledger))


def test_what_is_wrong_in_a_federation_is_said(fire: Fire) -> None:
    ledger = fire.ledger
    out(fire.rig, ledger)
    fire.rig.stop("rennes")  # which would mend it
    give(fire.rig.ns("rennes", "c"), fire.rig.address("nantes", "a"))
    clouds = [look(fire.rig, site) for site in fire.rig.sites]
    assert any(words.startswith("I1") for words in always(clouds, ledger.projects))
    fire.rig.go_on("rennes")
    out(fire.rig, ledger)
    kept = ledger.hosts.pop(("nantes", "a"))
    assert said(fire, "I4: host a")
    ledger.hosts["nantes", "a"] = kept
    ledger.hosts["lyon", "never"] = Host("lyon", "never", "nowhere", frozenset({"10.20.2.9"}))
    assert said(fire, "I3: host never")
    del ledger.hosts["lyon", "never"]
    vpn = ledger.vpns.pop("stretch")
    assert said(fire, "I4: unknown Vpn")
    ledger.ended.add(vpn.id)
    assert said(fire, "I6: ended Vpn")
    ledger.ended.clear()
    vpn.members, kept_members = vpn.members - {"lyon"}, vpn.members
    ledger.vpns["stretch"] = vpn
    assert said(fire, "I3: stretch was promised to")
    vpn.members = kept_members
    fire.rig.cut("nantes", "lyon")
    assert said(fire, "I5: no answer in stretch")
    fire.rig.heal()
    out(fire.rig, ledger)


def test_a_write_to_a_kernel_is_seen(fire: Fire) -> None:
    host = fire.rig.ns("rennes", "c")
    with writes(everywhere(fire.rig, "rennes")) as written:
        give(host, "10.10.0.199")
    assert {told.place for told in written.found} == {"rennes-c"}
