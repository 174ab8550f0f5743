"""Neutron over its REST API, with the sessions and settings that openstacksdk brings.

Requests run in a few threads, each within a time limit. Only what may be done twice is tried twice: reading, changing
to what is wished, deleting. A creation that was not answered is not repeated here: whoever wished it looks for its
mark first.

openstacksdk's resource layer is left out: it costs more memory than the agent, and adds to JSON what we would take
off again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from intertie.drivers.openstack import rest
from intertie.drivers.openstack.neutron import Bgpvpn, Net, Port, Router, Rule, Subnet
from intertie.model.errors import Conflict, Forbidden, IntertieError, NotFound, Refused, Unavailable

THREADS = 4
TIMEOUT = 30.0
"""Seconds for one request; a loaded Neutron takes some for a port."""
REPEATED = frozenset({"GET", "PUT", "DELETE"})
AGAIN = (502, 503, 504)
BUSY = (408, 429)
"""Nothing is wrong with what was asked."""
LIST = "/bgpvpn/bgpvpns"

Facts = Mapping[str, Any]


class SdkNeutron:
    """Satisfies `neutron.Neutron`. `adapter` is a keystoneauth1 Adapter for the region's network service;
    `request_id` tells under which X-Openstack-Request-Id it asks now."""

    def __init__(self, name: str, adapter: Any, request_id: Callable[[], str] = str) -> None:
        self._name = name
        self._adapter = adapter
        self._request_id = request_id
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="neutron")

    @property
    def name(self) -> str:
        return self._name

    # ── Networks and subnets ───────────────────────────────────────────────────────────────────────────────

    async def extensions(self) -> frozenset[str]:
        return frozenset(str(each.get("alias", "")) for each in await self._all("/extensions", "extensions"))

    async def networks(self) -> Sequence[Net]:
        return rest.nets(await self._all("/networks", "networks"))

    async def create_network(self, net: Net, tags: Collection[str] = ()) -> Net:
        made = rest.net(await self._make("/networks", "network", rest.net_wish(net)))
        if tags:
            await self._send("PUT", f"/networks/{made.id}/tags", {"tags": sorted(tags)})
        return made

    async def delete_network(self, id: str) -> None:
        await self._delete(f"/networks/{id}")

    async def subnets(self, network: str = "") -> Sequence[Subnet]:
        return rest.subnets(await self._all("/subnets", "subnets", network_id=network))

    async def create_subnet(self, subnet: Subnet) -> Subnet:
        made = rest.subnet(await self._make("/subnets", "subnet", rest.subnet_wish(subnet)))
        if not subnet.tags:
            return made
        await self.tag_subnet(made.id, subnet.tags)
        return replace(made, tags=subnet.tags)

    async def update_subnet(self, subnet: Subnet) -> Subnet:
        wish = rest.subnet_change(subnet)
        return rest.subnet(await self._change(f"/subnets/{subnet.id}", "subnet", wish))

    async def tag_subnet(self, id: str, tags: Collection[str]) -> None:
        await self._send("PUT", f"/subnets/{id}/tags", {"tags": sorted(tags)})

    # ── Ports and routers ──────────────────────────────────────────────────────────────────────────────────

    async def ports(self, *, device_owner: str = "", network: str = "") -> Sequence[Port]:
        return rest.ports(await self._all("/ports", "ports", device_owner=device_owner, network_id=network))

    async def create_port(self, port: Port) -> Port:
        subnets = await self.subnets(port.network) if port.addresses else ()
        return rest.port(await self._make("/ports", "port", rest.port_wish(port, subnets)))

    async def update_port(self, port: Port) -> Port:
        subnets = await self.subnets(port.network) if port.addresses else ()
        wish = rest.port_change(port, subnets)
        return rest.port(await self._change(f"/ports/{port.id}", "port", wish))

    async def delete_port(self, id: str) -> None:
        await self._delete(f"/ports/{id}")

    async def agents(self, host: str) -> Collection[bool]:
        return [bool(each.get("alive")) for each in await self._all("/agents", "agents", host=host)]

    async def routers(self) -> Sequence[Router]:
        found = await self._all("/routers", "routers")
        return [Router(id=str(each.get("id", "")), name=str(each.get("name", ""))) for each in found]

    async def rules(self) -> Sequence[Rule]:
        found = await self._all("/security-group-rules", "security_group_rules", direction="ingress")
        return [rest.rule(each) for each in found]

    # ── BGPVPNs ────────────────────────────────────────────────────────────────────────────────────────────

    async def bgpvpns(self) -> Sequence[Bgpvpn]:
        return [rest.bgpvpn(each) for each in await self._all(LIST, "bgpvpns")]

    async def create_bgpvpn(self, bgpvpn: Bgpvpn) -> Bgpvpn:
        return rest.bgpvpn(await self._make(LIST, "bgpvpn", rest.bgpvpn_wish(bgpvpn)))

    async def delete_bgpvpn(self, id: str) -> None:
        await self._delete(f"{LIST}/{id}")

    async def associate(self, bgpvpn: Bgpvpn, *, network: str = "", router: str = "") -> None:
        kind, id = ("network", network) if network else ("router", router)
        wish = {f"{kind}_id": id, "project_id": bgpvpn.project}
        try:
            await self._make(f"{LIST}/{bgpvpn.id}/{kind}_associations", f"{kind}_association", wish)
        except (Conflict, Refused):
            there = [each for each in await self.bgpvpns() if each.id == bgpvpn.id]
            if not any(id in each.networks | each.routers for each in there):
                raise

    async def dissociate(self, bgpvpn: Bgpvpn) -> None:
        for kind in ("network", "router"):
            path = f"{LIST}/{bgpvpn.id}/{kind}_associations"
            for each in await self._all(path, f"{kind}_associations"):
                await self._delete(f"{path}/{each['id']}")

    # ── Requests ───────────────────────────────────────────────────────────────────────────────────────────

    async def _all(self, path: str, what: str, **filters: str) -> list[Facts]:
        """All objects of a list, page by page where the cloud makes pages."""
        params = {name: value for name, value in filters.items() if value}
        found: list[Facts] = []
        while True:
            told = await self._page(path, params)
            page = told.get(what)
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                raise self._broken(path, f"without {what}")
            found += page
            links = told.get(f"{what}_links") or ()
            if not page or not any(isinstance(link, dict) and link.get("rel") == "next" for link in links):
                return found
            marker = str(page[-1].get("id", ""))
            if marker in ("", params.get("marker")):
                raise self._broken(path, f"with {what} that have no end")
            params["marker"] = marker

    async def _page(self, path: str, params: Mapping[str, str]) -> Facts:
        try:
            return await self._send("GET", path, params=params)
        except NotFound:
            if "marker" not in params:
                raise
            # What the last page ended with is gone meanwhile: where to go on is not known.
            raise Unavailable(f"{self._name}: {path} changed while it was read", code="cloud-silent") from None

    async def _make(self, path: str, what: str, wish: Facts) -> Facts:
        return self._within(path, what, await self._send("POST", path, {what: wish}))

    async def _change(self, path: str, what: str, wish: Facts) -> Facts:
        return self._within(path, what, await self._send("PUT", path, {what: wish}))

    def _within(self, path: str, what: str, told: Facts) -> Facts:
        found = told.get(what)
        if not isinstance(found, dict):
            raise self._broken(path, f"without {what}")
        return found

    def _broken(self, path: str, how: str) -> Unavailable:
        return Unavailable(
            f"{self._name} answers {path} {how}",
            code="cloud-silent",
            hint="is that Neutron, and nothing between that answers for it?",
        )

    async def _delete(self, path: str) -> None:
        try:
            await self._send("DELETE", path)
        except NotFound:
            return

    async def _send(
        self, method: str, path: str, body: Facts | None = None, params: Mapping[str, str] | None = None
    ) -> Facts:
        ask = partial(self._ask, method, path, body, params, self._request_id())
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    def _ask(
        self, method: str, path: str, body: Facts | None, params: Mapping[str, str] | None, request_id: str
    ) -> Facts:
        """In a thread."""
        times = 2 if method in REPEATED else 1
        for left in reversed(range(times)):
            try:
                reply = self._once(method, path, body, params, request_id)
            except Unavailable:
                if not left:
                    raise
                continue
            if reply.status_code not in AGAIN or not left:
                return self._read(method, path, reply)
        raise AssertionError("not reached")

    def _once(
        self, method: str, path: str, body: Facts | None, params: Mapping[str, str] | None, request_id: str
    ) -> Any:
        from keystoneauth1.exceptions import CatalogException, ClientException, Unauthorized

        headers = {"X-Openstack-Request-Id": request_id} if request_id else {}
        json = {"json": body} if body is not None else {}
        try:
            return self._adapter.request(path, method, raise_exc=False, params=params, headers=headers, **json)
        except Unauthorized as error:
            raise Forbidden(
                f"Keystone of {self._name} does not let the site's user in: {_first_line(error)}",
                hint="what clouds.yaml says of it: user, password or application credential, project",
            ) from error
        except CatalogException as error:
            raise Unavailable(
                f"the catalogue of {self._name} has no such Neutron: {_first_line(error)}",
                code="cloud-silent",
                hint="region_name in clouds.yaml is one of: openstack region list",
            ) from error
        except ClientException as error:
            raise Unavailable(f"{self._name} does not answer: {_first_line(error)}", code="cloud-silent") from error

    def _read(self, method: str, path: str, reply: Any) -> Facts:
        status, words = int(reply.status_code), rest.words(reply.text)
        if status < 300:
            try:
                found = reply.json() if reply.content else {}
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise self._broken(path, "with what is no JSON object")
            return found
        raise self._problem(status, f"{self._name}: {words or f'{method} {path} answers {status}'}", method, path)

    def _problem(self, status: int, detail: str, method: str, path: str) -> IntertieError:
        if status == 404:
            return NotFound(detail)
        if status in (401, 403):
            return Forbidden(
                detail,
                hint=f"the site's user may not {method} {path.split('/')[1]}: give it the role admin or service",
            )
        if status == 409:
            return Refused(detail, code="quota") if "quota" in detail.lower() else Conflict(detail, code="in-use")
        if status < 500 and status not in BUSY:
            return Refused(detail)
        return Unavailable(detail, code="cloud-silent", hint="its log says more; it is asked again")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
