"""A region's Neutron, as its administrator: just enough to make what a tenant would have."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from lab.environment import LabError
from lab.settings import PASSWORD, Region

Facts = dict[str, Any]


def login(region: Region, user: str = "admin", project: str = "admin") -> tuple[str, Facts]:
    """(token, what Keystone says of it)."""
    who = {"name": user, "domain": {"id": "default"}, "password": PASSWORD}
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    wish = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
    request = urllib.request.Request(
        f"{region.keystone_url}/auth/tokens", json.dumps(wish).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        told: Facts = json.load(reply)
        return str(reply.headers["X-Subject-Token"]), told["token"]


class Neutron:
    """Its API."""

    def __init__(self, region: Region) -> None:
        self._url = region.url
        self._token, _ = login(region)

    def _ask(self, method: str, path: str, body: object = None) -> Facts:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json", "X-Auth-Token": self._token}
        request = urllib.request.Request(f"{self._url}/v2.0/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=90) as reply:
            text = reply.read()
            return json.loads(text) if text else {}

    def make(self, what: str, **facts: object) -> Facts:
        """`make("network", name="blue")`."""
        found: Facts = self._ask("POST", f"{what.replace('_', '-')}s", {what: facts})[what]
        return found

    def list(self, what: str, **filters: str) -> list[Facts]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        found: list[Facts] = self._ask("GET", f"{what.replace('_', '-')}s?{query}")[f"{what}s"]
        return found

    def delete(self, what: str, id: str) -> None:
        self._ask("DELETE", f"{what.replace('_', '-')}s/{id}")

    def network(self, name: str, project: str, prefix: str, **more: object) -> Facts:
        """A tenant's network with one subnet; `more` is of the subnet."""
        made = self.make("network", name=name, project_id=project)
        wish = {"network_id": made["id"], "project_id": project, "ip_version": 4, "cidr": prefix, **more}
        self.make("subnet", **wish)
        return made

    def pingable(self, project: str) -> str:
        """Id of a security group that lets echoes in: the default one does not, from another site."""
        group = str(self.make("security_group", name="ping", project_id=project)["id"])
        self.make(
            "security_group_rule",
            security_group_id=group,
            project_id=project,
            direction="ingress",
            protocol="icmp",
            ethertype="IPv4",
        )
        return group

    def port(self, network: Facts, host: str, name: str, group: str = "") -> Facts:
        """A virtual machine's, on that host; in its project's default security group if in no other."""
        groups = {"security_groups": [group]} if group else {}
        return self.make(
            "port",
            name=name,
            network_id=network["id"],
            project_id=network["project_id"],
            device_owner="compute:nova",
            device_id=name,
            **{"binding:host_id": host, **groups},
        )

    def until_active(self, port: str, limit: float = 60.0) -> None:
        end = time.monotonic() + limit
        while self._ask("GET", f"ports/{port}")["port"]["status"] != "ACTIVE":
            if time.monotonic() > end:
                raise LabError(f"port {port} is not active after {limit:g} s")
            time.sleep(0.2)
