"""The one table from error code to HTTP status, and errors as problem documents (RFC 9457).

Every answer that is not a success has this shape, whoever made it: a use case, the router (404, 405), the
validation of a request (422, with the fields), a limit, or a fault of ours (500, without its insides).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from intertie.model.codec import dumps
from intertie.model.errors import Conflict, IntertieError, Unavailable
from intertie.model.views import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"


class Meaning(NamedTuple):
    status: int
    title: str


CODES: Mapping[str, Meaning] = {
    "unauthenticated": Meaning(401, "No token, or one that is not known here"),
    "forbidden": Meaning(403, "Not allowed"),
    "not-found": Meaning(404, "No such thing, or not your project's"),
    "method-not-allowed": Meaning(405, "This cannot be done to it"),
    "too-slow": Meaning(408, "It took too long to come"),
    "overlap": Meaning(409, "Prefixes overlap"),
    "name-taken": Meaning(409, "The name is taken"),
    "in-use": Meaning(409, "In use"),
    "refused-by-member": Meaning(409, "A member refused"),
    "no-common-transport": Meaning(409, "No transport that every member has"),
    "failed": Meaning(409, "It was agreed, and could not be done"),
    "loop": Meaning(409, "A loop was seen, and the segment is blocked"),
    "owner-up": Meaning(409, "The home of it answers"),
    "stale": Meaning(412, "It has changed since"),
    "too-large": Meaning(413, "Too large"),
    "unsupported-media-type": Meaning(415, "Not JSON"),
    "invalid": Meaning(422, "The request cannot be understood"),
    "prefix-too-small": Meaning(422, "The prefix is too small"),
    "unknown-site": Meaning(422, "A site that is not known"),
    "unknown-network": Meaning(422, "A network that is not known"),
    "precondition-required": Meaning(428, "Say which version is meant"),
    "quota": Meaning(429, "Nothing left to give"),
    "rate": Meaning(429, "Too much at once"),
    "internal": Meaning(500, "A fault of the agent"),
    "owner-silent": Meaning(503, "The home of it does not answer"),
    "cloud-silent": Meaning(503, "The site's cloud does not answer"),
    "storage": Meaning(503, "It cannot be written now"),
    "starting": Meaning(503, "Not ready yet"),
}
"""code → status and title."""

_OF_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}


def problem_of(error: IntertieError) -> Problem:
    """A code that the table does not have (a later peer's reason, a driver's own) counts as what kind of error it
    is."""
    kind = 409 if isinstance(error, Conflict) else 503 if isinstance(error, Unavailable) else 422
    status, title = CODES.get(error.code) or Meaning(kind, error.code)
    return Problem(
        type=f"/docs#problem-{error.code}",
        title=title,
        status=status,
        detail=error.detail,
        code=error.code,
        hint=error.hint,
        sites=error.sites,
    )


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a response."""
    more = dict(headers or {})
    if problem.status == 401:
        more.setdefault("WWW-Authenticate", 'Bearer realm="intertie"')  # RFC 6750, section 3
    return Response(dumps(problem), problem.status, more, MEDIA_TYPE)


def refusal(error: IntertieError, headers: Mapping[str, str] | None = None) -> Response:
    """An error of the tree as a response."""
    return answer(problem_of(error), headers)


# ── Handlers ───────────────────────────────────────────────────────────────────────────────────────────────


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, IntertieError)
    return refusal(error)


async def _http(request: Request, error: Exception) -> Response:
    """What the router itself says: no such path, not this method."""
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code, "invalid" if error.status_code < 500 else "internal")
    words = {
        "not-found": f"there is nothing at {request.url.path}",
        "method-not-allowed": f"{request.method} means nothing at {request.url.path}",
    }
    problem = Problem(
        type=f"/docs#problem-{code}",
        title=CODES[code].title,
        status=error.status_code,
        detail=words.get(code, str(error.detail)),
        code=code,
        hint="GET /docs lists what there is" if code in words else "",
    )
    headers = dict(error.headers or {})
    if allowed := _allowed(request) if error.status_code == 405 else ():
        headers["Allow"] = ", ".join(allowed)
    return answer(problem, headers)


def _allowed(request: Request) -> list[str]:
    """Methods of the resource (RFC 9110, section 15.5.6). The router names those of one of its routes only."""
    asked = request.url.path.split("/")
    found: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        parts = template.split("/")
        if len(parts) == len(asked) and all(p == a or p[:1] == "{" for p, a in zip(parts, asked, strict=True)):
            found |= operations.keys()
    return sorted(method.upper() for method in found)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = tuple(_field(found) for found in error.errors())
    problem = Problem(
        type="/docs#problem-invalid",
        title=CODES["invalid"].title,
        status=422,
        detail="; ".join(f"{f.field} {f.problem}" for f in fields[:5]),
        code="invalid",
        hint="GET /docs shows the shape of each request",
        fields=fields,
    )
    return answer(problem)


async def _fault(request: Request, error: Exception) -> Response:
    """The traceback is the server's to log; the caller learns the id under which it stands there."""
    id = str(getattr(request.state, "request_id", ""))
    told = IntertieError(
        "the agent met a fault of its own", code="internal", hint=f"its log tells more, under request {id}"
    )
    return refusal(told, {"X-Request-Id": id} if id else None)


_WORDS = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is not known here",
    "string_pattern_mismatch": "is not of the form {pattern}",
    "enum": "is none of {expected}",
    "literal_error": "is none of {expected}",
    "string_too_long": "has more than {max_length} characters",
    "dataclass_type": "is to be an object",
    "tuple_type": "is to be a list",
    "string_type": "is to be a text",
}
"""Validation in our words, by pydantic's types of error."""


def _field(found: Mapping[str, Any]) -> FieldProblem:
    # The first part says where it came from; "body" alone is the whole.
    place = _path(found["loc"][1:]) or str(found["loc"][0])
    words = _WORDS.get(found["type"], "is wrong: {msg}")
    return FieldProblem(field=place, problem=words.format(msg=found["msg"], **found.get("ctx", {})))


def _path(parts: Sequence[str | int]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def install(app: FastAPI) -> None:
    """Let every error of `app` be a problem document."""
    app.add_exception_handler(IntertieError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _fault)
