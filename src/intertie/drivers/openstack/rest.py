"""Neutron's JSON ↔ its objects as `neutron` has them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from intertie.drivers.openstack.neutron import Bgpvpn, Net, Port, Rule, Subnet
from intertie.model.bodies import Address, Range

Facts = Mapping[str, Any]
LONGEST = 500
"""Characters of an error that are repeated."""


NO_PREFIX = ip_network("0.0.0.0/32")
"""Of a subnet that cannot be read."""


def nets(told: Iterable[object]) -> list[Net]:
    """One that cannot be read is there with its flaw. What has not even an id is passed over: nothing can be about
    it."""
    found = []
    for each in _with_ids(told):
        try:
            found.append(net(each))
        except (KeyError, TypeError, ValueError) as error:
            name, project = str(each.get("name") or ""), str(each.get("project_id") or "")
            found.append(Net(id=str(each["id"]), name=name, project=project, mtu=0, flaw=_why(error)))
    return found


def subnets(told: Iterable[object]) -> list[Subnet]:
    """As networks."""
    found = []
    for each in _with_ids(told):
        try:
            found.append(subnet(each))
        except (KeyError, TypeError, ValueError) as error:
            network = str(each.get("network_id") or "")
            found.append(Subnet(id=str(each["id"]), network=network, prefix=NO_PREFIX, flaw=_why(error)))
    return found


def _with_ids(told: Iterable[object]) -> list[Facts]:
    return [each for each in told if isinstance(each, dict) and each.get("id")]


def _why(error: Exception) -> str:
    return f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def net(told: Facts) -> Net:
    zones = {str(zone) for key in ("availability_zones", "availability_zone_hints") for zone in told.get(key) or ()}
    return Net(
        id=str(told["id"]),
        name=str(told["name"] or ""),
        project=str(told["project_id"] or ""),
        mtu=int(told.get("mtu") or 1500),
        description=str(told.get("description") or ""),
        shared=bool(told.get("shared")),
        external=bool(told.get("router:external")),
        zones=frozenset(zones),
        physical=str(told.get("provider:physical_network") or ""),
    )


def net_wish(net: Net) -> Facts:
    return {"name": net.name, "project_id": net.project, "mtu": net.mtu, "description": net.description}


def subnet(told: Facts) -> Subnet:
    pools = (Range(first=ip_address(p["start"]), last=ip_address(p["end"])) for p in told["allocation_pools"])
    return Subnet(
        id=str(told["id"]),
        network=str(told["network_id"]),
        name=str(told.get("name") or ""),
        project=str(told.get("project_id") or ""),
        prefix=ip_network(told["cidr"], strict=False),
        gateway=ip_address(told["gateway_ip"]) if told.get("gateway_ip") else None,
        pools=tuple(sorted(pools, key=lambda r: (r.first.version, int(r.first)))),
        dhcp=bool(told.get("enable_dhcp")),
        tags=frozenset(str(tag) for tag in told.get("tags") or ()),
    )


def subnet_wish(subnet: Subnet) -> Facts:
    v6 = subnet.prefix.version == 6
    # Addresses of IPv6 come from the pools only where DHCP gives them; with SLAAC hosts would make up their own.
    modes = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"} if v6 else {}
    return {
        "network_id": subnet.network,
        "project_id": subnet.project,
        "name": subnet.name,
        "ip_version": subnet.prefix.version,
        "cidr": str(subnet.prefix),
        **modes,
        **subnet_change(subnet),
    }


def subnet_change(subnet: Subnet) -> Facts:
    return {
        "gateway_ip": str(subnet.gateway) if subnet.gateway is not None else None,
        "allocation_pools": [{"start": str(r.first), "end": str(r.last)} for r in subnet.pools],
        "enable_dhcp": subnet.dhcp,
    }


def ports(told: Iterable[object]) -> list[Port]:
    return [port(each) for each in _with_ids(told)]


def port(told: Facts) -> Port:
    """Of one that cannot be read what can be: that it is there keeps its network."""
    fixed = told.get("fixed_ips")
    given = [each.get("ip_address") for each in fixed if isinstance(each, dict)] if isinstance(fixed, list) else []
    return Port(
        id=str(told["id"]),
        network=str(told.get("network_id") or ""),
        mac=str(told.get("mac_address") or ""),
        device_owner=str(told.get("device_owner") or ""),
        device_id=str(told.get("device_id") or ""),
        description=str(told.get("description") or ""),
        host=str(told.get("binding:host_id") or ""),
        binding=str(told.get("binding:vif_type") or ""),
        addresses=frozenset(a for each in given if (a := _address(each)) is not None),
        secured=bool(told.get("port_security_enabled", True)),
        up=bool(told.get("admin_state_up", True)),
        groups=frozenset(str(each) for each in told.get("security_groups") or ()),
    )


def rule(told: Facts) -> Rule:
    """A rule by port or protocol lets in something, too."""
    prefix = told.get("remote_ip_prefix")
    return Rule(
        group=str(told["security_group_id"]),
        version=6 if told.get("ethertype") == "IPv6" else 4,
        prefix=ip_network(prefix, strict=False) if prefix else None,
        members=str(told.get("remote_group_id") or ""),
    )


def _address(told: object) -> Address | None:
    try:
        return ip_address(str(told))
    except ValueError:
        return None


def port_wish(port: Port, subnets: Sequence[Subnet]) -> Facts:
    return {
        "network_id": port.network,
        "mac_address": port.mac,
        "device_owner": port.device_owner,
        "device_id": port.device_id,
        "description": port.description,
        **port_change(port, subnets),
    }


def port_change(port: Port, subnets: Sequence[Subnet]) -> Facts:
    fixed = [
        {"subnet_id": each.id, "ip_address": str(address)}
        for address in sorted(port.addresses, key=lambda a: (a.version, int(a)))
        for each in subnets
        if address.version == each.prefix.version and address in each.prefix
    ]
    unsecured = {} if port.secured else {"port_security_enabled": False, "security_groups": []}
    return {"binding:host_id": port.host, "fixed_ips": fixed, "admin_state_up": port.up, **unsecured}


def bgpvpn(told: Facts) -> Bgpvpn:
    return Bgpvpn(
        id=str(told["id"]),
        name=str(told.get("name") or ""),
        project=str(told.get("project_id") or ""),
        layer=str(told.get("type") or ""),
        route_targets=frozenset(str(each) for each in told.get("route_targets") or ()),
        networks=frozenset(str(each) for each in told.get("networks") or ()),
        routers=frozenset(str(each) for each in told.get("routers") or ()),
    )


def bgpvpn_wish(bgpvpn: Bgpvpn) -> Facts:
    """Without a project: the user's own."""
    owner = {"project_id": bgpvpn.project} if bgpvpn.project else {}
    return {"name": bgpvpn.name, "type": bgpvpn.layer, "route_targets": sorted(bgpvpn.route_targets), **owner}


def words(text: str) -> str:
    """What an error of Neutron says to people; "" if it says nothing that is read here."""
    try:
        told = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(told, dict):
        return ""
    inner = next((each for each in told.values()), "")
    said = inner.get("message", "") if isinstance(inner, dict) else inner
    return " ".join(str(said).split())[:LONGEST]
