"""A site beside an OpenStack region: its cloud, and the transports that reach its networks, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intertie.drivers.cloud.neutron import NeutronCloud, Policy
from intertie.drivers.linux.netns import Namespaces
from intertie.drivers.openstack.gateway import GatewayPorts
from intertie.drivers.openstack.neutron import Neutron
from intertie.drivers.openstack.ovs import Switch
from intertie.drivers.openstack.ovsdb import Ovsdb
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.sdk import TIMEOUT, SdkNeutron
from intertie.drivers.openstack.security import SecurityGroups
from intertie.drivers.openstack.site_ports import SitePorts
from intertie.drivers.openstack.view import View
from intertie.drivers.transport.bgpvpn import BgpvpnTransport
from intertie.drivers.transport.gateway_port import GatewayPortTransport
from intertie.drivers.transport.several import Carrier
from intertie.model.errors import Refused
from intertie.site_file import OpenStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the site has in the place of the `linux` cloud and its transports."""

    cloud: NeutronCloud
    carriers: Mapping[str, Carrier]
    stale: Callable[[], None]
    """Makes the next look at the cloud ask it."""
    guards: SecurityGroups


def adapter(settings: OpenStack, service: str = "network") -> Any:
    """A keystoneauth1 Adapter for a service of the region; nothing is asked yet. Refused, with what is wrong in the
    operator's clouds.yaml, or without the packages."""
    try:
        from keystoneauth1.adapter import Adapter
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
        region = OpenStackConfig(config_files=files).get_one(cloud=settings.cloud)
        session = region.get_session()
    except (SDKException, OSError, ValueError) as error:
        raise Refused(
            f"cloud {settings.cloud}: {error}", hint="[openstack] cloud names one of clouds.yaml"
        ) from error
    session.timeout = TIMEOUT
    return Adapter(
        session,
        service_type=service,
        interface=region.get_interface(service),
        region_name=region.get_region_name(service),
        min_version="2" if service == "network" else None,
        max_version="2.latest" if service == "network" else None,
    )


def beside(
    site: str, settings: OpenStack, namespaces: Namespaces, vxlan: Carrier, request_id: Callable[[], str] = str
) -> Beside:
    """The parts of a site of that name. Refused if the settings cannot be."""
    neutron: Neutron = SdkNeutron(settings.cloud, adapter(settings), request_id)
    view = View(neutron)
    switch = Switch(Ovsdb(settings.ovsdb), site, settings.bridge)
    pools = Pools(site, neutron, view)
    ports = SitePorts(site, GatewayPorts(site, neutron, _host(settings, switch)), pools, view)
    gateway = GatewayPortTransport(vxlan, site=site, namespaces=namespaces, switch=switch, ports=ports)
    policy = Policy(
        projects=frozenset(settings.projects),
        zone=settings.availability_zone,
        physical=settings.physical_network,
    )
    carriers: dict[str, Carrier] = {"vxlan": gateway, "bgpvpn": BgpvpnTransport(site, neutron, view, pools)}
    return Beside(
        cloud=NeutronCloud(site, neutron, view, policy),
        carriers=carriers,
        stale=view.stale,
        guards=SecurityGroups(site, neutron, view),
    )


def _host(settings: OpenStack, switch: Switch) -> Callable[[], Awaitable[str]]:
    async def name() -> str:
        return settings.host or (await switch.host()).name

    return name
