"""/v1/networks and /v1/hosts: what this site's own cloud holds."""

from __future__ import annotations

from fastapi import APIRouter, Response

from intertie.api.auth import Member, Reader
from intertie.api.openapi import made, problems
from intertie.api.paging import Page, Paged
from intertie.api.services import Uses
from intertie.api.shapes import HostWish, NetworkWish
from intertie.model.views import HostView, NetworkView

networks = APIRouter(prefix="/networks", tags=["networks"])
hosts = APIRouter(prefix="/hosts", tags=["hosts"])


@networks.get("", summary="List networks")
async def list_networks(use: Uses, who: Reader, page: Paged) -> Page[NetworkView]:
    """The networks of your project at this site, and whether a Vpn could attach them."""
    return page.of(use.networks.all(who), lambda n: n.id)


@networks.post(
    "",
    status_code=201,
    summary="Make a network",
    responses={**made("The network."), **problems("overlap", "name-taken", "in-use", "prefix-too-small", "storage")},
)
async def create_network(use: Uses, who: Member, response: Response, wish: NetworkWish) -> NetworkView:
    """One prefix of each IP version is usual."""
    made = await use.networks.create(who, wish.name, wish.all_prefixes(), wish.bridge or "", wish.mtu or 0)
    response.headers["Location"] = f"/v1/networks/{made.id}"
    return made


@networks.get("/{id}", summary="Show a network", responses=problems("not-found"))
async def show_network(use: Uses, who: Reader, id: str) -> NetworkView:
    """By id, or by name."""
    return use.networks.get(who, id)


@networks.delete(
    "/{id}", status_code=204, summary="Delete a network", responses=problems("not-found", "in-use", "storage")
)
async def delete_network(use: Uses, who: Member, id: str) -> None:
    """Refused while hosts or Vpns use it."""
    await use.networks.delete(who, id)


@hosts.get("", summary="List hosts")
async def list_hosts(use: Uses, who: Reader, page: Paged) -> Page[HostView]:
    """The hosts of your project at this site."""
    return page.of(use.networks.hosts(who), lambda h: h.id)


@hosts.post(
    "",
    status_code=201,
    summary="Make a host",
    responses={**made("The host."), **problems("not-found", "name-taken", "in-use", "quota", "storage")},
)
async def create_host(use: Uses, who: Member, response: Response, wish: HostWish) -> HostView:
    """On a network of this site. Its addresses come from the part of the network that this site holds."""
    made = await use.networks.create_host(who, wish.name, wish.network, wish.all_addresses())
    response.headers["Location"] = f"/v1/hosts/{made.id}"
    return made


@hosts.get("/{id}", summary="Show a host", responses=problems("not-found"))
async def show_host(use: Uses, who: Reader, id: str) -> HostView:
    """By id, or by name."""
    return use.networks.host(who, id)


@hosts.delete("/{id}", status_code=204, summary="Delete a host", responses=problems("not-found", "storage"))
async def delete_host(use: Uses, who: Member, id: str) -> None:
    """It goes with the next round, which is at once."""
    await use.networks.delete_host(who, id)
