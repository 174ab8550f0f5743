"""What a Keystone of the lab holds beyond what its bootstrap makes: services, projects, users."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from lab.settings import PASSWORD

SERVICE_USERS = ("neutron", "intertie")
TENANTS = {"demo": ("reader", "member", "admin"), "other": ("member",)}
"""Project → roles; its user of a role is PROJECT-ROLE, `demo-member`."""


class Keystone:
    """Its API, as the administrator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = ""
        user = {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        wish = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        with self._open("POST", "/auth/tokens", wish) as reply:
            self._token = str(reply.headers["X-Subject-Token"])
        self.roles = {each["name"]: str(each["id"]) for each in self._get("/roles")["roles"]}

    def _open(self, method: str, path: str, body: object = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json", **({"X-Auth-Token": self._token} if self._token else {})}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        return urllib.request.urlopen(request, timeout=30)

    def _get(self, path: str) -> dict[str, Any]:
        with self._open("GET", path) as reply:
            found: dict[str, Any] = json.load(reply)
            return found

    def make(self, what: str, **facts: object) -> str:
        """A new object's id."""
        with self._open("POST", f"/{what}s", {what: facts}) as reply:
            return str(json.load(reply)[what]["id"])

    def grant(self, role: str, user: str, project: str) -> None:
        if role not in self.roles:
            self.roles[role] = self.make("role", name=role)
        self._open("PUT", f"/projects/{project}/users/{user}/roles/{self.roles[role]}").close()

    def user(self, name: str, project: str, roles: Sequence[str]) -> str:
        id = self.make("user", name=name, password=PASSWORD, domain_id="default", default_project_id=project)
        for role in roles:
            self.grant(role, id, project)
        return id


def services(url: str, endpoints: dict[str, str]) -> None:
    """The network service with an endpoint a region, and the users of services: what an installer makes."""
    keystone = Keystone(url)
    network = keystone.make("service", name="neutron", type="network")
    for region, address in endpoints.items():
        for interface in ("public", "internal", "admin"):
            keystone.make("endpoint", service_id=network, interface=interface, region_id=region, url=address)
    project = keystone.make("project", name="service", domain_id="default")
    for name in SERVICE_USERS:
        keystone.user(name, project, ("admin", "service"))


def tenants(url: str) -> dict[str, str]:
    """Projects with users of each role, new in each Keystone, so that clouds which share nothing share no id either.
    Project → id."""
    keystone = Keystone(url)
    found = {}
    for project, roles in TENANTS.items():
        found[project] = keystone.make("project", name=project, domain_id="default")
        for role in roles:
            keystone.user(f"{project}-{role}", found[project], (role,))
    return found
