"""What a tenant's default group keeps out, on a real Neutron; and a rule that lets it in."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from intertie.drivers.openstack.security import SecurityGroups
from intertie.drivers.openstack.view import View
from intertie.testing.fake_neutron import MARKS
from lab.regions import Lab
from tests.openstack.test_bgpvpn import Rig, rig

__all__ = ["rig"]

THERE = ip_network("10.88.0.0/24")


async def test_a_default_group_lets_nothing_in_from_another_site(rig: Rig, regions: Lab, tmp_path: Path) -> None:
    guards = SecurityGroups("s1", rig.neutron, View(rig.neutron, MARKS, good_for=0.0))
    assert await guards.kept_out(rig.net.id, [THERE]) == ""
    wish = {"network_id": rig.net.id, "project_id": rig.net.project, "device_owner": "compute:nova"}
    port = (await rig.send("POST", "/ports", {"port": wish}))["port"]
    [group] = port["security_groups"]
    said = await guards.kept_out(rig.net.id, [THERE])
    assert said.startswith(f"1 of 1 machines let nothing in from {THERE}: security group {group} ")
    rule = {
        "security_group_id": group,
        "project_id": rig.net.project,
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "icmp",
        "remote_ip_prefix": str(THERE),
    }
    made = (await rig.send("POST", "/security-group-rules", {"security_group_rule": rule}))["security_group_rule"]
    try:
        assert await guards.kept_out(rig.net.id, [THERE]) == ""
    finally:  # the group is the tenant's, and of other tests too
        await rig.neutron._delete(f"/security-group-rules/{made['id']}")
