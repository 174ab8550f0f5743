"""Who calls. Nothing is served without an answer to that, but for the few open paths.

A token is a bearer token (RFC 6750). A connection on the site's own socket needs none: the socket lies in the site's
directory, which only its operator may enter, so whoever comes that way is the operator and may do everything. As the
operator belongs to no project, the header X-Intertie-Project says for which one something is to be made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from intertie.agent.access import Caller, Role
from intertie.api import problems
from intertie.api.services import Services
from intertie.model.codec import check_name
from intertie.model.errors import IntertieError, Unauthenticated

OPEN = frozenset({"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/docs.css", "/docs/docs.js"})
"""All that is served to everybody: none of it says anything of a project."""

OPERATOR = "intertie.operator"
"""In the ASGI scope of a connection that is the operator's: the project that it speaks for unless it names one."""

DEFAULT_PROJECT = "demo"
PROJECT_HEADER = b"x-intertie-project"


def trusted(app: ASGIApp, project: str = DEFAULT_PROJECT) -> ASGIApp:
    """`app` for the site's own socket: every connection is the operator's, acting for `project` by default."""

    async def operators(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, OPERATOR: project}, receive, send)

    return operators


class Door:
    """ASGI: recognises the caller of everything that is not open, before anything of the request is read."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            try:
                scope["state"]["caller"] = self._caller(scope)
            except IntertieError as error:
                await problems.refusal(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        given = _header(scope["headers"], b"authorization")
        # A token counts also on the socket: the operator may look at the site with a tenant's eyes.
        if given:
            scheme, _, token = given.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Unauthenticated("Authorization is not a bearer token", hint="Authorization: Bearer TOKEN")
            return self._services.tokens.recognise(token.strip())
        default = scope.get(OPERATOR)
        if default is None:
            raise Unauthenticated("this needs a token", hint="Authorization: Bearer TOKEN; intertie token create")
        project = _header(scope["headers"], PROJECT_HEADER) or default
        return Caller(project=check_name(project, "project"), role=Role.ADMIN)


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
