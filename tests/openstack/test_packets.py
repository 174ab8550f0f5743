"""Packets between two clouds while agents and Neutrons fail, and what is left of a Vpn in Neutron: nothing."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest

from intertie.client import Attachment, VpnKind
from lab.neutron import Facts
from tests.openstack.joined import Joined, inside, reaches, until, vpn

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("joined", ["independent"], indirect=True)]


def members(joined: Joined, network: str) -> tuple[Attachment, Attachment]:
    """Stretched from the first region to the second, which makes a network for it."""
    return (
        Attachment(site=joined.one.agent.name, network=network),
        Attachment(site=joined.two.agent.name),
    )


def addresses(first: object, last: object) -> set[str]:
    return {str(IPv4Address(n)) for n in range(int(IPv4Address(str(first))), int(IPv4Address(str(last))) + 1)}


def handed_out(subnet: Facts) -> set[str]:
    return {a for pool in subnet["allocation_pools"] for a in addresses(pool["start"], pool["end"])}


def test_an_agent_that_is_killed_costs_no_packet_and_takes_up_what_it_had(joined: Joined) -> None:
    one, two = joined.one, joined.two
    with ExitStack() as ends:
        network = one.network("killed", "10.61.0.0/24", ends)
        a = one.boot(network, "a", ends)
        made = ends.enter_context(vpn(one.agent.tenant, "killed", VpnKind.L2, *members(joined, "killed")))
        (stretched,) = two.cloud.list("network", name="killed")
        with ExitStack() as on_it:
            b = two.boot(stretched, "b", on_it)
            reaches(joined.see, inside(a), b.address)
            with joined.see.stream(inside(a), b.address) as echoes:
                one.agent.agent.kill()
                echoes.go_on(3)
                one.agent.agent.start()
                one.agent.agent.up().close()

                def ready() -> bool:
                    """the Vpn is ready again"""
                    return one.agent.tenant.vpns.get(made.id).value.phase == "ready"

                until(ready)
                echoes.go_on(1)
            echoes.check()


def test_a_neutron_that_stands_still_costs_no_packet(joined: Joined) -> None:
    one, two = joined.one, joined.two
    with ExitStack() as ends:
        network = one.network("frozen", "10.62.0.0/24", ends)
        a = one.boot(network, "a", ends)
        made = ends.enter_context(vpn(one.agent.tenant, "frozen", VpnKind.L2, *members(joined, "frozen")))
        (stretched,) = two.cloud.list("network", name="frozen")
        with ExitStack() as on_it:
            b = two.boot(stretched, "b", on_it)
            reaches(joined.see, inside(a), b.address)
            with joined.see.stream(inside(a), b.address) as echoes:
                os.kill(joined.lab.pids["neutron-1"], signal.SIGSTOP)
                try:
                    echoes.go_on(25)
                    assert one.agent.tenant.vpns.get(made.id).value.members[0].realised
                finally:
                    os.kill(joined.lab.pids["neutron-1"], signal.SIGCONT)

                def ready() -> bool:
                    """the Vpn is ready again"""
                    return one.agent.tenant.vpns.get(made.id).value.phase == "ready"

                until(ready)
            echoes.check()


def test_pools_are_shared_and_given_back(joined: Joined) -> None:
    one, two = joined.one, joined.two
    with ExitStack() as ends:
        network = one.network("pools", "10.63.0.0/24", ends)
        (before,) = one.cloud.list("subnet", network_id=network["id"])
        with vpn(one.agent.tenant, "pools", VpnKind.L2, *members(joined, "pools")) as made:
            (here,) = one.cloud.list("subnet", network_id=network["id"])
            (there,) = two.cloud.list("subnet", cidr="10.63.0.0/24")
            pools = [handed_out(subnet) for subnet in (here, there)]
            held = [{a for r in member.ranges for a in addresses(r.first, r.last)} for member in made.members]
            assert all(pools)
            assert not held[0] & held[1]
            assert all(given <= ours for given, ours in zip(pools, held, strict=True))
            (port,) = one.cloud.list("port", network_id=network["id"])
            assert port["device_owner"] == "network:intertie"

        def as_before() -> bool:
            """the subnet is what it was"""
            (after,) = one.cloud.list("subnet", network_id=network["id"])
            return all(after[name] == before[name] for name in ("allocation_pools", "tags", "gateway_ip"))

        until(as_before)

        def gone() -> bool:
            """nothing that Intertie made is left"""
            ports = [p for place in (one, two) for p in place.cloud.list("port", device_owner="network:intertie")]
            return not ports and not two.cloud.list("network", name="pools")

        until(gone)


def test_the_default_security_group_lets_nothing_in_from_another_site(joined: Joined) -> None:
    one, two = joined.one, joined.two
    with ExitStack() as ends:
        network = one.network("closed", "10.64.0.0/24", ends)
        a = one.boot(network, "a", ends)
        ends.enter_context(vpn(one.agent.tenant, "closed", VpnKind.L2, *members(joined, "closed")))
        (stretched,) = two.cloud.list("network", name="closed")
        with ExitStack() as on_it:
            b = two.boot(stretched, "b", on_it, pingable=False)
            reaches(joined.see, inside(b), a.address)  # so the way is there, both ways
            assert joined.see.answers(inside(a), b.address, count=5) == 0
