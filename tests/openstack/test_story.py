"""What `make lab-openstack ARGS=--check` shows: L2 and L3 Vpns between two regions, and between two clouds."""

from __future__ import annotations

import pytest

from lab.story import Story
from tests.openstack.joined import Joined

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("joined", ["independent", "shared/ovs"], indirect=True)
def test_networks_are_stretched_and_routed_with_full_packets_and_nothing_is_left(joined: Joined) -> None:
    result = Story(joined.agents, print).tell().document()
    assert [vpn["kind"] for vpn in result["vpns"]] == ["l2", "l3"]
    pairs = [pair for vpn in result["vpns"] for pair in vpn["pairs"]]
    assert len(pairs) == 4
    assert all(pair["ok"] for pair in pairs), pairs
    assert result["ok"]
