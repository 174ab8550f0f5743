"""What a lab is asked to be, and the configuration files of its services: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REGIONS = ("RegionOne", "RegionTwo", "RegionThree", "RegionFour")
PASSWORD = "secret"
"""Of every user: the services listen where only this machine reaches them."""
DATA_PLANES = ("none", "ovn", "ovs")
LAYOUTS = ("shared", "independent")

Sections = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One Neutron. `keystone` is the number of the Keystone that it trusts."""

    number: int
    name: str
    keystone: int
    keystone_url: str
    url: str
    database: str = ""
    """SQLAlchemy's URL of its database; "": an SQLite file in its folder."""
    broker: str = ""
    """oslo.messaging's URL of its message queue; "": none, for there is nobody to talk to."""
    data_plane: str = "none"
    address: str = "127.0.0.1"
    """Of the site's databases, with a data plane."""

    @property
    def cloud(self) -> str:
        """Its name in clouds.yaml."""
        return self.name.lower()


def ini(sections: Sections) -> str:
    """As oslo.config reads it."""
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{name} = {_text(value)}" for name, value in values.items()), ""]
    return "\n".join(lines)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sqlite(file: Path) -> Mapping[str, object]:
    # A lost lab is made anew: nothing in it is worth an fsync.
    return {"connection": f"sqlite:///{file}?timeout=60", "sqlite_synchronous": False}


def keystone(folder: Path) -> Sections:
    fernet = {"key_repository": folder / "fernet"}
    return {
        "DEFAULT": {},
        "database": _sqlite(folder / "keystone.db"),
        "token": {"provider": "fernet"},
        "fernet_tokens": fernet,
        "fernet_receipts": fernet,
        "credential": {"key_repository": folder / "credentials"},
        "cache": {"enabled": False},
        "identity": {"password_hash_rounds": 4},
        "trust": {"allow_redelegation": True},
    }


def neutron(folder: Path, paste: Path, region: Region) -> Sections:
    """Of one region. Networks have the MTU that their encapsulation leaves."""
    ovn = region.data_plane == "ovn"
    return {
        "DEFAULT": {
            "auth_strategy": "keystone",
            "core_plugin": "ml2",
            "service_plugins": f"{'ovn-router' if ovn else 'router'},segments,trunk,bgpvpn",
            "api_paste_config": paste,
            "transport_url": region.broker or "fake:///",
            "state_path": folder / "state",
            "host": region.cloud,
            "notify_nova_on_port_status_changes": False,
            "notify_nova_on_port_data_changes": False,
            "dhcp_agent_notification": False,
        },
        "oslo_concurrency": {"lock_path": folder / "lock"},
        "database": {"connection": region.database} if region.database else _sqlite(folder / "neutron.db"),
        "keystone_authtoken": _trusting(region),
        "oslo_messaging_notifications": {"driver": "noop"},
        **_ml2(region, ovn),
        "service_providers": {"service_provider": f"BGPVPN:Dummy:{BGPVPN_DRIVERS}.driver_api.BGPVPNDriverRC:default"},
    }


def _trusting(region: Region) -> Mapping[str, object]:
    return {
        "www_authenticate_uri": region.keystone_url,
        "auth_url": region.keystone_url,
        "auth_type": "password",
        "username": "neutron",
        "password": PASSWORD,
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": region.name,
        "service_token_roles": "service",
        "service_token_roles_required": True,
    }


def _ml2(region: Region, ovn: bool) -> Sections:
    """VNIs of regions differ, as they would by chance."""
    kind, first = "geneve" if ovn else "vxlan", 1000 * region.number + 1
    found: dict[str, Mapping[str, object]] = {
        "ml2": {
            "type_drivers": f"local,flat,vlan,{kind}",
            "tenant_network_types": kind,
            "mechanism_drivers": "ovn" if ovn else "openvswitch,l2population",
            "extension_drivers": "port_security",
        },
        f"ml2_type_{kind}": {"vni_ranges": f"{first}:{first + 998}", **({"max_header_size": 38} if ovn else {})},
        "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:200"},
        "ml2_type_flat": {"flat_networks": "physnet1"},
    }
    if ovn:
        databases = {f"ovn_{d}_connection": f"tcp:{region.address}:{p}" for d, p in (("nb", 6641), ("sb", 6642))}
        found["ovn"] = {**databases, "ovn_l3_scheduler": "leastloaded"}
    return found


BGPVPN_DRIVERS = "networking_bgpvpn.neutron.services.service_drivers"
"""Of the two that do nothing, the one with `RC` knows port associations too."""


def clouds_yaml(regions: list[Region], user: str = "admin", project: str = "admin") -> Mapping[str, object]:
    """For openstacksdk and `openstack --os-cloud`: one cloud a region, by the region's name in small letters."""
    return {
        "clouds": {
            region.cloud: {
                "region_name": region.name,
                "auth": {
                    "auth_url": region.keystone_url,
                    "username": user,
                    "password": PASSWORD,
                    "project_name": project,
                    "user_domain_id": "default",
                    "project_domain_id": "default",
                },
            }
            for region in regions
        }
    }
