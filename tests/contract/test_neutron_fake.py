"""The Neutron in memory passes what the real one passes (tests/openstack/test_neutron.py)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from intertie.drivers.openstack.neutron import Port
from intertie.testing.fake_neutron import FakeNeutron, FakeRegion
from intertie.testing.neutron_suite import NeutronContract


@dataclass(slots=True)
class FakeRig:
    region: FakeRegion = field(default_factory=FakeRegion)
    project: str = "tenant"

    def neutron(self) -> FakeNeutron:
        return FakeNeutron(self.region)

    async def boot(self, network: str) -> Port:
        return self.region.boot(network)

    async def route(self, subnet: str, name: str) -> None:
        self.region.route(subnet, name)

    async def limit(self, what: str, number: int) -> str:
        self.region.quota["limited", what] = number
        return "limited"


@pytest.fixture
def rig() -> FakeRig:
    return FakeRig()


class TestFakeNeutron(NeutronContract):
    """See testing.neutron_suite."""
