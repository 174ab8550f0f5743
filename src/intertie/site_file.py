"""A site's directory: site.toml and the root key. Made by `intertie init`, read by the agent.

Imports little, so that `init` is quick.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType

from intertie.federation import keys
from intertie.model.bodies import Address, Location
from intertie.model.codec import check_name, read
from intertie.model.errors import Conflict, NotFound, Refused
from intertie.model.json_text import Malformed

USER_PORT = 7575
PEER_PORT = 7576


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStack:
    """[openstack] of site.toml: the region that the site is."""

    cloud: str
    """Its name in clouds.yaml; what is secret stays there."""
    clouds_file: str = ""
    """"": where OpenStack's tools look for clouds.yaml."""
    host: str = ""
    """By which Neutron knows this machine; "": what Open vSwitch says."""
    bridge: str = "br-int"
    ovsdb: str = "unix:/var/run/openvswitch/db.sock"
    projects: tuple[str, ...] = ()
    """Ids of those whose networks may be attached; none: all."""
    availability_zone: str = ""
    physical_network: str = ""
    """By which the networks of the site's cell are told from the cloud's others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFile:
    """site.toml. `address` is what peers are told ("" behind NAT), `listen_*` where this machine listens."""

    name: str
    underlay: Address | None = None
    """The address that carries segments to other sites."""
    address: str | None = None
    location: Location | None = None
    cloud: str = ""
    cell: str = ""
    """If this site is one cell of a cloud: which, of which; attachments may then say CLOUD/CELL."""
    introductions: str = "ask"
    listen_users: str = f"127.0.0.1:{USER_PORT}"
    tls_certificate: str = ""
    tls_key: str = ""
    """PEM files for the user API; needed to listen on anything but loopback."""
    store: str = ""
    """postgresql://…, a database that several agents of this site share; "": an SQLite file in the directory."""
    heartbeat: float = 10.0
    round_every: float = 5.0
    probe_budget: float = 50.0
    openstack: OpenStack | None = None
    """The region that the site is; None: the site's cloud is this Linux host."""
    log: str = "logfmt"
    """logfmt or json; $INTERTIE_LOG goes before it."""
    certificate_days: float = 30.0
    """Days before its end from which a certificate is warned of."""


def init_site(
    name: str,
    dir: Path,
    location: tuple[float, float] | None = None,
    underlay: str | None = None,
    introductions: str = "ask",
    more: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Make a site's directory: settings and root key. `more`: store (its address), cell ("CLOUD/CELL"). Conflict if
    it is a site's already; nothing half-made stays."""
    check_name(name, "site")
    if introductions not in ("accept", "ask", "never"):
        raise Refused(f"introductions: {introductions!r}", hint="accept, ask or never")
    lines = [f'name = "{name}"']
    if underlay:
        lines.append(f'underlay = "{ip_address(underlay)}"')
    if location is not None:
        lat, lon = location
        if not (-90 <= lat <= 90 and -180 <= lon <= 180):
            raise Refused(f"no place on Earth: {lat},{lon}", hint="LAT,LON in degrees, for example 47.218,-1.554")
        lines.append(f"location = {{ lat = {lat}, lon = {lon} }}")
    if more.get("cell"):
        lines += _cell(more["cell"])
    lines.append(f'introductions = "{introductions}"')
    if store := more.get("store"):
        check_store(store)
        lines.append(f"store = {json.dumps(store)}")
    settings = dir / "site.toml"
    if settings.exists():
        raise Conflict(f"{settings} exists: this is a site already", code="name-taken", hint="choose another --dir")
    dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    dir.chmod(0o700)
    keys.create(dir, name)
    settings.write_text("\n".join(lines) + "\n")
    return dir


def _cell(text: str) -> list[str]:
    cloud, slash, cell = text.partition("/")
    if not slash or "/" in cell:
        raise Refused(f"no cell of a cloud: {text}", hint="CLOUD/CELL, for example nantes/edge-1")
    return [f'cloud = "{check_name(cloud, "cloud")}"', f'cell = "{check_name(cell, "cell")}"']


def _check_known(path: Path, found: Mapping[str, object], settings: type) -> None:
    known = {each.name for each in fields(settings)}
    if unknown := sorted(found.keys() - known):
        raise Refused(f"{path}: {unknown[0]} is no setting", hint=f"one of {', '.join(sorted(known))}")


def check_store(store: str) -> None:
    """Refused if it is no address of a store."""
    if store and not store.startswith(("postgresql://", "postgres://")):
        raise Refused(
            "store: only PostgreSQL has an address", hint="postgresql://USER@HOST/DATABASE; SQLite needs no setting"
        )


def read_site(dir: Path) -> SiteFile:
    """site.toml of `dir`. NotFound, or Refused naming what is wrong in it."""
    path = dir / "site.toml"
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"no site at {dir}", hint=f"intertie init --name NAME --dir {dir}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{path}: {error}") from None
    _check_known(path, found, SiteFile)
    if isinstance(inner := found.get("openstack"), dict):
        _check_known(path, inner, OpenStack)
    try:
        site = read(SiteFile, found)
        check_store(site.store)
        if bool(site.cloud) != bool(site.cell):
            raise Refused(f"{path}: a cloud and its cell come together", hint="set both cloud and cell, or neither")
        return site
    except Malformed as error:
        raise Refused(f"{path}: {error.detail}", hint=error.hint) from None
