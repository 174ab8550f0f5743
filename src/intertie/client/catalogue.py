"""An agent as a service of an OpenStack cloud: who calls is told by a Keystone session, where by its catalogue."""

from __future__ import annotations

from typing import Protocol

from intertie.client.errors import usage
from intertie.client.place import Place
from intertie.model.errors import Refused

SERVICE_TYPE = "inter-site-networking"
"""In the catalogue, one endpoint a region: the agent of the site that the region is."""


class KeystoneSession(Protocol):
    """What is used of keystoneauth1.session.Session; its own errors pass through the client."""

    @property
    def verify(self) -> bool | str | None: ...

    @property
    def cert(self) -> str | tuple[str, str] | None: ...

    def get_token(self) -> str | None: ...

    def invalidate(self) -> bool: ...


def place_of(session: KeystoneSession, url: str | None) -> Place:
    """The agent at `url`, called with the session's tokens: a new one whenever one is refused. Refused (usage) if
    `url` is none: the catalogue has no endpoint there."""
    if not url:
        raise Refused(
            f"the service catalogue has no {SERVICE_TYPE} in this region, or none for this interface",
            code="usage",
            hint="name the agent: --os-intertie-endpoint URL; or another --os-region-name",
        )
    if not url.startswith(("http://", "https://")):
        raise usage(f"{url!r} is no URL of an agent", "for example https://intertie.example:7575")

    def tokens(another: bool) -> str:
        if another:
            session.invalidate()
        return session.get_token() or ""

    verify = True if session.verify is None else session.verify
    return Place(url=_rooted(url), tokens=tokens, verify=verify, cert=session.cert)


def _rooted(url: str) -> str:
    """An endpoint may be registered with the version of its API, which our paths begin with."""
    return url.rstrip("/").removesuffix("/v1")
