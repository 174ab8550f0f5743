"""What security groups keep out is told, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from intertie.drivers.openstack.neutron import Net, Port, Rule, Subnet
from intertie.drivers.openstack.security import SecurityGroups, words
from intertie.drivers.openstack.view import View
from intertie.model.errors import Unavailable
from intertie.testing.fake_neutron import MARKS, FakeNeutron, FakeRegion, Fault

THERE = ip_network("10.2.0.0/24")
DEFAULT = [Rule(group="g", version=4, members="g"), Rule(group="g", version=6, members="g")]
"""As Neutron makes it for each project."""


def machine(number: int = 1, **facts: object) -> Port:
    port = Port(
        id=f"p{number}",
        network="net",
        mac=f"fa:16:3e:00:00:{number:02x}",
        device_owner="compute:nova",
        device_id="vm",
        description="",
        host="h",
        binding="ovs",
        addresses=frozenset({ip_address(f"10.1.0.{number}")}),
        groups=frozenset({"g"}),
    )
    return replace(port, **facts)  # type: ignore[arg-type]


def test_the_default_group_keeps_other_sites_out() -> None:
    said = words(
        [machine(1), machine(2, groups=frozenset({"open"}))], [*DEFAULT, Rule(group="open", version=4)], [THERE]
    )
    assert said == (
        "1 of 2 machines let nothing in from 10.2.0.0/24: security group g "
        "(openstack security group rule create --remote-ip 10.2.0.0/24 …)"
    )


@pytest.mark.parametrize("prefix", [None, "10.2.0.0/16", "10.2.0.0/24", "10.2.0.9/32"])
def test_what_lets_something_in_is_no_matter(prefix: str | None) -> None:
    rule = Rule(group="g", version=4, prefix=ip_network(prefix) if prefix else None)
    assert words([machine()], [*DEFAULT, rule], [THERE]) == ""


@pytest.mark.parametrize(
    "rule",
    [
        Rule(group="g", version=4, prefix=ip_network("10.3.0.0/24")),
        Rule(group="g", version=6),
        Rule(group="other", version=4),
        Rule(group="g", version=4, members="other"),
    ],
)
def test_what_lets_others_in_does_not_help(rule: Rule) -> None:
    assert "let nothing in" in words([machine()], [*DEFAULT, rule], [THERE])


def test_who_is_not_guarded_or_does_not_speak_that_version_is_not_counted() -> None:
    assert words([machine(secured=False, groups=frozenset())], DEFAULT, [THERE]) == ""
    assert words([machine()], DEFAULT, [ip_network("2001:db8::/64")]) == ""
    assert words([], DEFAULT, [THERE]) == ""


def region() -> FakeRegion:
    found = FakeRegion()
    found.networks["net"] = Net(id="net", name="blue", project="p", mtu=1442)
    prefix = ip_network("10.1.0.0/24")
    found.subnets["s"] = Subnet(id="s", network="net", prefix=prefix, gateway=ip_address("10.1.0.1"))
    found.ports["p1"] = machine()
    found.ports["gw"] = machine(9, id="gw", device_owner="network:intertie", secured=False, groups=frozenset())
    found.rules = list(DEFAULT)
    return found


async def test_the_region_is_asked_and_its_own_prefix_is_meant_where_none_is_named() -> None:
    world = region()
    neutron = FakeNeutron(world)
    guards = SecurityGroups("s1", neutron, View(neutron, MARKS, good_for=0.0))
    assert "1 of 1 machines let nothing in from 10.2.0.0/24" in await guards.kept_out("net", [THERE])
    assert "from 10.1.0.0/24" in await guards.kept_out("net", ())
    assert await guards.kept_out("gone", [THERE]) == ""
    world.faults = [Fault("rules", Unavailable("500"))]
    assert await guards.kept_out("net", [THERE]) == "", "a cloud that is silent keeps nobody out"
    world.rules.append(Rule(group="g", version=4, prefix=THERE))
    assert await guards.kept_out("net", [THERE]) == ""
