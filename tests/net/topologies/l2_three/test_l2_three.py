"""One network over three sites: who has which addresses, and what crosses."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import pytest

from tests.net.topologies.rig import Rig

HOSTS = {"a": "nantes", "b": "lyon", "c": "rennes"}


def spans(member: dict[str, list[dict[str, str]]]) -> list[tuple[int, int, int]]:
    """(version, first, last) of a member's ranges."""
    found = [(ip_address(r["first"]), ip_address(r["last"])) for r in member["ranges"]]
    return [(first.version, int(first), int(last)) for first, last in found]


@pytest.mark.parametrize("version", [4, 6])
def test_every_pair_of_hosts_pings(rig: Rig, version: int) -> None:
    assert rig.see.all_answer(rig.targets(HOSTS, version)) == {}


@pytest.mark.parametrize("version", [4, 6])
def test_packets_of_the_full_mtu_cross_in_one_piece_and_larger_ones_do_not(rig: Rig, version: int) -> None:
    mtu = rig["nantes"].vpn("stretch")["mtu"]
    assert mtu == 1450
    pairs = rig.targets(HOSTS, version)
    assert rig.see.all_answer(pairs, size=mtu) == {}
    assert rig.see.all_answer(pairs, size=mtu + 1).keys() == pairs.keys()


def test_each_site_holds_a_part_of_its_own_and_gives_addresses_from_it(rig: Rig) -> None:
    members = rig["rennes"].vpn("stretch")["members"]
    held = sorted((*span, m["site"]) for m in members for span in spans(m))
    for one, other in pairwise(held):
        assert one[0] != other[0] or one[2] < other[1], f"{one} meets {other}"
    assert {version for version, *_ in held} == {4, 6}
    for host, site in HOSTS.items():
        own = [span for m in members if m["site"] == site for span in spans(m)]
        for address in map(ip_address, rig[site].hosts[host]["addresses"]):
            assert any(v == address.version and f <= int(address) <= t for v, f, t in own), (site, address, own)


def test_verify_proves_every_pair_of_hosts_at_full_size(rig: Rig) -> None:
    found = rig["lyon"].post("/v1/vpns/stretch/verify")
    assert found["ok"], found
    pairs = {(p["from"]["host"], p["to"]["host"]) for p in found["pairs"]}
    assert pairs == {(one, other) for one in HOSTS for other in HOSTS if one != other}
    assert {p["mtu"] for p in found["pairs"]} == {1450}


def test_a_quiet_site_has_nothing_to_change(rig: Rig) -> None:
    assert all(site.agent_quiet() for site in rig)
