"""Who calls. Nothing is served without an answer to that, but for the few open paths.

A token is a bearer token (RFC 6750); beside an OpenStack cloud it may be one of its Keystone, as a bearer token or in
X-Auth-Token. What a client says of itself in other headers (X-Project-Id, X-Roles) is not read. A connection on the
site's own socket needs none: the socket lies in the site's directory, which only its operator may enter, so whoever
comes that way is the operator and may do everything. As the operator belongs to no project, the header
X-Intertie-Project says for which one something is to be made.

Whoever is not known yet may ask only so often from one place, and what cannot be a token is not hashed to find out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from intertie.agent.access import PREFIX, Caller, Role
from intertie.api import problems
from intertie.api.services import Services
from intertie.federation.peer_door import source_of
from intertie.federation.rates import Meter, Rate
from intertie.model.codec import check_name
from intertie.model.errors import IntertieError, Refused, Unauthenticated

OPEN = frozenset({"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/docs.css", "/docs/docs.js"})
"""All that is served to everybody: none of it says anything of a project (metrics name
Vpns by their ids alone)."""

OPERATOR = "intertie.operator"
"""In the ASGI scope of a connection that is the operator's: the project that it speaks for unless it names one."""

CONNECTION = "intertie.connection"
"""In the extensions of a scope that came over a port of ours: the connection, which may be known already."""

CHEAP = frozenset({"/livez", "/readyz"})
"""Answering costs no more than refusing, and who watches over the agent must not be kept from it."""

UNKNOWN = Rate(100, per_second=20.0)
"""Requests from one place without a token that is known: what is open to all included."""
MAX_TOKEN = 128
"""Characters; ours have 36."""

DEFAULT_PROJECT = "demo"
PROJECT_HEADER = b"x-intertie-project"


def trusted(app: ASGIApp, project: str = DEFAULT_PROJECT) -> ASGIApp:
    """`app` for the site's own socket: every connection is the operator's, acting for `project` by default."""

    async def operators(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, OPERATOR: project}, receive, send)

    return operators


class Connection(Protocol):
    """What the port knows of the connection that a request came over."""

    @property
    def known(self) -> bool:
        """Whether a good token was shown on it before."""
        ...

    def recognised(self, token: str) -> None:
        """A good token was shown on it; `token` is its id."""
        ...


class Door:
    """ASGI: recognises the caller of everything that is not open, before anything of the request is read."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self._services = services
        self._unknown = Meter(UNKNOWN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in CHEAP:
            try:
                await self._recognise(scope)
            except IntertieError as error:
                await problems.refusal(error, self._headers(error))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _headers(self, error: IntertieError) -> dict[str, str] | None:
        if error.code == "rate":
            return {"Retry-After": "1", "Connection": "close"}
        identity = self._services.identity
        return {"WWW-Authenticate": identity.challenge} if identity and error.code == "unauthenticated" else None

    async def _recognise(self, scope: Scope) -> None:
        """Who calls, into the scope's state. Unauthenticated, or Refused (rate) after too many that were."""
        connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
        place = _place(scope)
        counted = OPERATOR not in scope and not (connection and connection.known)
        # Counted before anything is looked at, and taken back if it turns out that the caller is known.
        if counted and not self._unknown.take(place, asyncio.get_running_loop().time()):
            raise Refused("too many requests without a token that is known here", code="rate", hint="try later")
        if scope["path"] in OPEN:
            return
        caller = scope["state"]["caller"] = await self._caller(scope)
        if counted:
            self._unknown.give(place)
        if connection and caller.token:
            connection.recognised(caller.token)

    async def _caller(self, scope: Scope) -> Caller:
        identity = self._services.identity
        if identity is not None and (token := _foreign(scope["headers"])):
            return await identity.recognise(token)
        given = _header(scope["headers"], b"authorization") or _as_bearer(_header(scope["headers"], b"x-auth-token"))
        # A token counts also on the socket: the operator may look at the site with a tenant's eyes.
        if given:
            scheme, _, token = given[: MAX_TOKEN + 10].partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Unauthenticated("Authorization is not a bearer token", hint="Authorization: Bearer TOKEN")
            if len(given) > MAX_TOKEN or not token.strip().startswith(PREFIX):
                raise Unauthenticated("the token is none of ours", hint="intertie token create, at this site")
            return self._services.tokens.recognise(token.strip())
        default = scope.get(OPERATOR)
        if default is None:
            raise Unauthenticated("this needs a token", hint="Authorization: Bearer TOKEN; intertie token create")
        project = _header(scope["headers"], PROJECT_HEADER) or default
        return Caller(project=check_name(project, "project"), role=Role.ADMIN)


def _place(scope: Scope) -> Hashable:
    """Where a request comes from, as far as counting goes."""
    host = (scope.get("client") or ("",))[0]
    try:
        return source_of(host)
    except ValueError:
        return host


def _as_bearer(token: str) -> str:
    """OpenStack's clients send whatever token they have in a header of its own."""
    return f"Bearer {token}" if token else ""


def _foreign(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """A token that is none of ours, by its beginning; "" for one of ours, or none."""
    given = _header(headers, b"x-auth-token")
    if not given:
        scheme, _, given = _header(headers, b"authorization").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
    return "" if given.startswith(PREFIX) else given


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="`intertie token create` makes one.")


class Needs:
    """The dependency by which a route says what role it needs, and its handler gets to know the caller."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request, bearer: Annotated[object, Depends(BEARER)]) -> Caller:
        caller = cast(Caller, request.state.caller)
        caller.needs(self.role)
        return caller


Reader = Annotated[Caller, Depends(Needs(Role.READER))]
Member = Annotated[Caller, Depends(Needs(Role.MEMBER))]
Admin = Annotated[Caller, Depends(Needs(Role.ADMIN))]
