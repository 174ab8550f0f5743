"""The OpenAPI 3.1 document: what the routers cannot say for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from intertie import __version__
from intertie.agent.access import Role
from intertie.api.auth import Needs
from intertie.api.problems import CODES, MEDIA_TYPE, problem_of
from intertie.model.errors import IntertieError
from intertie.model.views import Problem

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """\
One site's agent of Intertie: it joins networks of this cloud to those of others, which run agents of their own.

Errors are problem documents (RFC 9457) with a stable `code`, and a `hint` that says what would help. A Vpn has an
`ETag`; changing it needs `If-Match`. `Prefer: wait=S` holds an answer until it is settled. Lists come in pages.
Times are RFC 3339 in UTC. What belongs to another project does not exist for you.
"""

TAGS = (
    ("vpns", "Services between sites: stretch a network (l2), or route between networks (l3)."),
    ("networks", "Networks of this site's own cloud."),
    ("hosts", "Hosts on these networks."),
    ("plan", "What would be done, before it is."),
    ("events", "What happens."),
    ("site", "This site."),
    ("peers", "The other sites, and what their projects may do here."),
    ("tokens", "Who may speak to this site."),
    ("system", "Open to all: alive, ready, metrics."),
)

EXAMPLES = {
    "overlap": "10.0.0.0/24 (blue) overlaps 10.0.0.0/16 (old)",
    "in-use": "lyon has 2 ports in use",
    "refused-by-member": "lyon: network blue is attached to another Vpn",
    "stale": "blue is at version 0.1.7, not 0.1.5",
    "owner-silent": "nantes, the home of blue, does not answer",
}


_ID = {"id": "$response.body#/id"}
_TAGGED = {**_ID, "If-Match": "$response.header.ETag"}
_PEER = {"name": "$response.body#/name"}
_FIRST = {"id": "$response.body#/items/0/id"}
_SAME = {"id": "$request.path.id"}
_OF_A_VPN = ("show_vpn", "change_vpn", "end_vpn", "verify_vpn", "adopt_vpn")

LINKS: Mapping[tuple[str, int], Mapping[str, Mapping[str, str]]] = {
    ("create_network", 201): {"show_network": _ID, "delete_network": _ID},
    ("delete_network", 204): {"show_network": _SAME, "delete_network": _SAME},
    ("create_host", 201): {"show_host": _ID, "delete_host": _ID},
    ("delete_host", 204): {"show_host": _SAME, "delete_host": _SAME},
    ("create_vpn", 201): dict.fromkeys(_OF_A_VPN, _TAGGED),
    ("show_vpn", 200): dict.fromkeys(_OF_A_VPN, _TAGGED),
    ("change_vpn", 200): dict.fromkeys(_OF_A_VPN, _ID),
    ("change_vpn", 202): {"withdraw_proposal": {**_ID, "proposal": "$response.body#/pending/proposal"}},
    ("end_vpn", 202): dict.fromkeys(_OF_A_VPN, _ID),
    ("end_vpn", 204): dict.fromkeys(_OF_A_VPN, _SAME),
    ("create_token", 201): {"revoke_token": _ID},
    ("revoke_token", 204): {"revoke_token": _SAME},
    ("join", 201): {"show_peer": _PEER, "map_project": _PEER, "forget": _PEER},
    ("approve", 200): {"show_peer": _PEER, "map_project": _PEER, "forget": _PEER},
    ("map_project", 201): {"list_peer_mappings": {"name": "$request.path.name"}},
    ("forget", 204): {"show_peer": {"name": "$request.path.name"}, "approve": {"name": "$request.path.name"}},
    ("show_site", 200): {"make_bundle": {}},
    ("list_vpns", 200): dict.fromkeys(_OF_A_VPN, _FIRST),
    ("list_networks", 200): {"show_network": _FIRST},
    ("list_hosts", 200): {"show_host": _FIRST},
    ("list_peers", 200): {"show_peer": {"name": "$response.body#/items/0/name"}},
}
"""(operation, status) → operations that its answer leads to, and what of it they take."""


def problems(*codes: str) -> Responses:
    """Responses of a route: the problems with these codes, by status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code].status, []).append(code)
    if 422 in by_status and "invalid" not in codes:
        # A route's word on a status takes the place of its router's, and every request may be invalid.
        by_status[422].insert(0, "invalid")
    return {status: _problem_response(found) for status, found in by_status.items()}


def _problem_response(codes: list[str]) -> dict[str, Any]:
    examples = {code: {"value": _example(code)} for code in codes}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": "; ".join(f"{CODES[code].title} (`{code}`)" for code in codes) + ".",
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }


def _example(code: str) -> dict[str, Any]:
    problem = problem_of(IntertieError(EXAMPLES.get(code, CODES[code].title.lower()), code=code))
    shown: dict[str, Any] = TypeAdapter(Problem).dump_python(problem, mode="json")
    return shown


def shows(status: int, model: Any, words: str) -> Responses:
    """A success with another shape than the usual one."""
    return {status: {"model": model, "description": words}}


def made(words: str, status: int = 201, *, etag: bool = False) -> Responses:
    """A success with headers."""
    headers: dict[str, Any] = {}
    if status == 201:
        headers["Location"] = {"description": "Where it is.", "schema": {"type": "string"}}
    if etag:
        headers["ETag"] = {"description": "Its version, for If-Match.", "schema": {"type": "string"}}
    return {status: {"description": words, "headers": headers}}


def events_shown() -> Responses:
    example = (
        'id: 01K-7\ndata: {"at":"2026-01-01T00:00:00Z","id":"nantes.01K","kind":"vpn",'
        '"seq":7,"site":"nantes","what":"live"}\n\n'
    )
    # Each message is an object for some readers, and all of them together a text for others.
    content = {"text/event-stream": {"schema": {}, "example": example}}
    return {200: {"description": "A stream that does not end by itself.", "content": content}}


def role_of(dependant: Dependant) -> Role | None:
    """The role that a route needs; None if it asks for no caller."""
    needs = [d.call.role for d in dependant.dependencies if isinstance(d.call, Needs)]
    return max(needs, default=None)


def document(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    """The document, made once. `routers` are those under /v1."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="Intertie",
            version=__version__,
            openapi_version="3.1.0",
            summary="Many independent clouds, one network.",
            description=DESCRIPTION,
            routes=app.routes,
            tags=[{"name": name, "description": words} for name, words in TAGS],
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_problem_schema())
        made["x-problems"] = {code: {"status": m.status, "title": m.title} for code, m in CODES.items()}
        for route in (r for router in routers for r in router.routes if isinstance(r, APIRoute)):
            _tell(route, made["paths"][f"/v1{route.path}"])
        _link(made["paths"])
        app.openapi_schema = made
    return app.openapi_schema


def _problem_schema() -> dict[str, Any]:
    schema = TypeAdapter(Problem).json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), "Problem": schema}


def _tell(route: APIRoute, operations: dict[str, Any]) -> None:
    role = role_of(route.dependant)
    for method in route.methods or ():
        operation = operations[method.lower()]
        for status, told in operation["responses"].items():
            if told.get("description") == "Successful Response":
                told["description"] = "Done; there is nothing more to say." if status == "204" else "As asked."
        for parameter in operation.get("parameters", ()):
            # Optional for the parser: who leaves it out hears 428 and what to say, rather than 422.
            if parameter["name"] == "If-Match" and "428" in operation["responses"]:
                parameter.update(required=True, schema={"type": "string", "minLength": 1})
        operation["x-role"] = role.name.lower() if role else ""
        operation["description"] = f"{operation.get('description', '')}\n\nNeeds the role **{operation['x-role']}**."


def _link(paths: dict[str, Any]) -> None:
    """Where one can go from an answer: what was made can be shown, changed, ended."""
    by_id = {op["operationId"]: op for methods in paths.values() for op in methods.values()}
    for (source, status), targets in LINKS.items():
        response = by_id[source]["responses"][str(status)]
        response["links"] = {
            target: {"operationId": target, "parameters": _handed_over(by_id[target], names)}
            for target, names in targets.items()
        }


def _handed_over(target: dict[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a link; what was tagged is changed as it was seen."""
    known = {parameter["name"]: parameter["in"] for parameter in target.get("parameters", ())}
    return {f"{known[name]}.{name}": expression for name, expression in names.items() if name in known}
