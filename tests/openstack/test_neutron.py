"""The real Neutron passes what the one in memory passes (tests/contract/test_neutron_fake.py), and more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from intertie.drivers.openstack import rest
from intertie.drivers.openstack.neutron import Port
from intertie.drivers.openstack.sdk import SdkNeutron
from intertie.openstack_site import network_adapter
from intertie.site_file import OpenStack
from intertie.testing.neutron_suite import NeutronContract
from lab.regions import Lab


@dataclass(slots=True)
class RealRig:
    """The first region of a lab, and the tenant `demo`."""

    asking: Any
    """A keystoneauth1 Adapter of an administrator."""
    project: str

    def neutron(self) -> SdkNeutron:
        return SdkNeutron("regionone", self.asking)

    async def boot(self, network: str) -> Port:
        wish = {"network_id": network, "project_id": self.project, "device_owner": "compute:nova"}
        told = await self._send("POST", "/ports", {"port": wish})
        return rest.port(told["port"])

    async def route(self, subnet: str, name: str) -> None:
        wish = {"name": name, "project_id": self.project}
        router = (await self._send("POST", "/routers", {"router": wish}))["router"]
        await self._send("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet})

    async def limit(self, what: str, number: int) -> str:
        """Neutron asks nobody whether there is such a project."""
        project = uuid4().hex
        await self._send("PUT", f"/quotas/{project}", {"quota": {what: number}})
        return project

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        ask = partial(self.asking.request, path, method, json=body, raise_exc=False)
        reply = await asyncio.to_thread(ask)
        if reply.status_code >= 400:
            raise SdkNeutron("regionone", self.asking)._problem(
                reply.status_code, rest.words(reply.text), method, path
            )
        found: dict[str, Any] = reply.json()
        return found


@pytest.fixture(scope="session")
def asking(clouds: Lab) -> Any:
    return network_adapter(OpenStack(cloud="regionone", clouds_file=str(clouds.clouds_yaml)))


@pytest.fixture
def rig(clouds: Lab, asking: Any) -> RealRig:
    return RealRig(asking=asking, project=clouds.tenants[0]["demo"])


class TestRealNeutron(NeutronContract):
    """See testing.neutron_suite."""
