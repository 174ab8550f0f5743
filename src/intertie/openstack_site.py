"""A site beside an OpenStack region: its cloud, and the transports that reach its networks, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intertie.agent.access import Caller, caller_of
from intertie.drivers.cloud.neutron import NeutronCloud, Policy
from intertie.drivers.linux.netns import Namespaces
from intertie.drivers.openstack.gateway import GatewayPorts
from intertie.drivers.openstack.keystone import Keystone, identity
from intertie.drivers.openstack.neutron import Neutron
from intertie.drivers.openstack.ovs import Switch
from intertie.drivers.openstack.ovsdb import Ovsdb
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.sdk import TIMEOUT, SdkNeutron
from intertie.drivers.openstack.security import SecurityGroups
from intertie.drivers.openstack.site_ports import SitePorts
from intertie.drivers.openstack.view import Marks, View
from intertie.drivers.transport.bgpvpn import BgpvpnTransport
from intertie.drivers.transport.gateway_port import GatewayPortTransport
from intertie.drivers.transport.several import Carrier
from intertie.model.errors import Refused
from intertie.site_file import OpenStack

VERSIONS = {"network": "2", "identity": "3"}
"""Of the APIs that are spoken here."""


class KeystoneUsers:
    """The cloud's users as users of the site. Satisfies `agent.access.Identity`."""

    def __init__(self, keystone: Keystone, url: str) -> None:
        self._keystone = keystone
        self.challenge = f'Keystone uri="{url}"'

    async def recognise(self, secret: str) -> Caller:
        holder = await self._keystone.holder(secret)
        return caller_of(holder.project, holder.roles, identity(secret))

    def stands(self, caller: Caller) -> bool:
        return self._keystone.stands(caller.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the site has in the place of the `linux` cloud and its transports."""

    cloud: NeutronCloud
    carriers: Mapping[str, Carrier]
    users: KeystoneUsers
    stale: Callable[[], None]
    """Makes the next look at the cloud ask it."""
    guards: SecurityGroups


def cloud_region(settings: OpenStack) -> Any:
    """What clouds.yaml says of the region (openstack.config.cloud_region.CloudRegion); nothing is asked yet. Refused,
    with what is wrong in it, or without the packages."""
    try:
        from openstack.config import OpenStackConfig
        from openstack.exceptions import SDKException
    except ImportError as error:
        raise Refused(
            f"beside OpenStack the agent needs {error.name}", hint="pip install 'intertie[openstack]'"
        ) from None
    files = [str(Path(settings.clouds_file).expanduser())] if settings.clouds_file else None
    if files and not Path(files[0]).is_file():
        raise Refused(f"[openstack] clouds_file: there is no file {files[0]}")
    try:
        return OpenStackConfig(config_files=files).get_one(cloud=settings.cloud)
    except (SDKException, OSError, ValueError) as error:
        raise Refused(
            f"cloud {settings.cloud}: {error}", hint="[openstack] cloud names one of clouds.yaml"
        ) from error


def adapter(region: Any, service: str) -> Any:
    """A keystoneauth1 Adapter for a service of the region."""
    from keystoneauth1.adapter import Adapter

    session = region.get_session()
    session.timeout = TIMEOUT
    return Adapter(
        session,
        service_type=service,
        interface=region.get_interface(service),
        region_name=region.get_region_name(service),
        min_version=VERSIONS[service],
        max_version=f"{VERSIONS[service]}.latest",
    )


def network_adapter(settings: OpenStack) -> Any:
    """That of the region's Neutron."""
    return adapter(cloud_region(settings), "network")


def beside(
    site: str,
    settings: OpenStack,
    secret: bytes,
    namespaces: Namespaces,
    vxlan: Carrier,
    request_id: Callable[[], str] = str,
) -> Beside:
    """The parts of a site of that name; `secret` seals its marks. Refused if the settings cannot be."""
    region = cloud_region(settings)
    neutron: Neutron = SdkNeutron(settings.cloud, adapter(region, "network"), request_id)
    keystone = Keystone(settings.cloud, adapter(region, "identity"))
    view = View(neutron, Marks(secret))
    switch = Switch(Ovsdb(settings.ovsdb), site, settings.bridge)
    pools = Pools(site, neutron, view)
    ports = SitePorts(site, GatewayPorts(site, neutron, _host(settings, switch)), pools, view)
    gateway = GatewayPortTransport(vxlan, site=site, namespaces=namespaces, switch=switch, ports=ports)
    return Beside(
        cloud=NeutronCloud(site, neutron, view, _policy(settings)),
        carriers={"vxlan": gateway, "bgpvpn": BgpvpnTransport(site, neutron, view, pools)},
        users=KeystoneUsers(keystone, str(region.config.get("auth", {}).get("auth_url", ""))),
        stale=view.stale,
        guards=SecurityGroups(site, neutron, view),
    )


def _policy(settings: OpenStack) -> Policy:
    return Policy(
        projects=frozenset(settings.projects),
        zone=settings.availability_zone,
        physical=settings.physical_network,
    )


def _host(settings: OpenStack, switch: Switch) -> Callable[[], Awaitable[str]]:
    async def name() -> str:
        return settings.host or (await switch.host()).name

    return name
