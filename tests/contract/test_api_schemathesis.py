"""The whole OpenAPI document, tried out: what it promises holds, whatever is asked, in whatever order.

The requests come from schemathesis: examples, boundary values, wrong values of every kind, and chains along the
document's links. They go to the real application of a site in a federation in virtual time. Every answer is judged:
no fault of ours, a documented status, media type, schema and headers; wrong requests refused; what was ended stays
ended; no answer without a token.

INTERTIE_API_EXAMPLES (30) is how many requests an operation gets beside the boundary values, and how many chains run.
"""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from zlib import crc32

import pytest
import schemathesis
import structlog
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import use_after_free
from starlette.types import Receive, Scope, Send

from intertie.api import Services, auth, build, gate
from intertie.federation.rates import Rate
from tests.contract.api_rig import Rig

EXAMPLES = int(os.environ.get("INTERTIE_API_EXAMPLES", "30"))
CHAINS = settings(
    max_examples=max(EXAMPLES // 3, 1),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=settings().derandomize,
)
REFUSED = {"POST /v1/peers", "POST /v1/site/leave", "DELETE /v1/vpns/{id}/proposals/{proposal}"}
"""Cannot succeed here: nobody's invitation is guessed, a Vpn binds this site, and nothing waits for a home that is
silent."""


CHANCE = Random()
"""Where tokens and request ids come from here: the same chain again finds the same names again."""


class Stage:
    """The federation of the moment, behind one ASGI application."""

    def __init__(self) -> None:
        self.rig: Rig | None = None

    def renew(self) -> Rig:
        self.close()
        CHANCE.seed(0)
        self.rig = Rig()
        return self.rig

    def close(self) -> None:
        if self.rig is not None:
            self.rig.close()
        self.rig = None

    @property
    def headers(self) -> dict[str, str]:
        assert self.rig is not None
        return {"Authorization": f"Bearer {self.rig.token}"}

    @property
    def own_token(self) -> str:
        assert self.rig is not None
        return sha256(self.rig.token.encode()).hexdigest()[:12]

    @property
    def things(self) -> dict[str, tuple[str, ...]]:
        """Names of what there is, by the second part of a path."""
        spare = (self.rig.spare,) if self.rig is not None else ()
        named = {"vpns": ("stretch", "far"), "networks": ("blue", "idle"), "peers": ("lyon",), "hosts": ("h",)}
        return {**named, "tokens": spare}

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.rig is not None
        await self.rig.app(scope, receive, send)


STAGE = Stage()
SEEN: dict[str, set[int]] = defaultdict(set)
"""operation → statuses that it answered with."""


def load() -> Any:
    """The document as every agent serves it, in schemathesis' hands."""
    nobody = cast(Services, SimpleNamespace(agent=None, tokens=None))
    schema = schemathesis.openapi.from_dict(build(nobody).openapi())
    schema.app = STAGE.app
    schema.config.generation.update(with_security_parameters=False)
    return schema


schema = load()
schema.config.checks.positive_data_acceptance.expected_statuses = [
    # Well-formed, and still impossible: what it means is the use case's to judge, and the problem says what is wrong.
    *("2xx", "404", "409", "412", "422", "428", "503"),
]
schema.config.checks.negative_data_rejection.expected_statuses = [
    # 412 as well: that the version is not the one meant may be said before the rest is looked at.
    *("400", "401", "403", "404", "405", "406", "409", "412", "415", "422", "428", "429"),
]
schema.config.checks.missing_required_header.expected_statuses = ["401", "422", "428"]


BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/networks": {"prefix": "10.22.0.0/24", "prefixes": [], "bridge": None, "mtu": 1400},
    "POST /v1/hosts": {"network": "idle", "addresses": []},
    "POST /v1/vpns": {
        "kind": "l2",
        "transport": None,
        "attachments": [{"site": "nantes", "network": "idle"}, {"site": "lyon"}],
    },
    "PUT /v1/vpns/{id}": {"attachments": [{"site": "nantes", "network": "blue"}, {"site": "lyon"}]},
}
"""What makes a request for something that can be; the rest of its body is as it came."""


@schema.hook
def map_case(context: Any, case: Any) -> Any:
    """Three well-formed requests of four ask for what can be, of things that there are: else all would be 404."""
    label = case.operation.label
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return case
    if crc32(repr((case.path_parameters, case.body, case.query)).encode()) % 4 == 0:
        return case
    things = STAGE.things.get(case.operation.path.split("/")[2] if case.operation.path.startswith("/v1/") else "", ())
    chained = case.meta.phase.name is TestPhase.STATEFUL
    for name in case.path_parameters or {}:
        # In a chain it is an earlier answer that says what is meant.
        if things and not chained:
            case.path_parameters[name] = things[crc32(repr(case.query).encode()) % len(things)]
    if label in BODIES and isinstance(case.body, dict):
        case.body = {**case.body, **BODIES[label]}
    if "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"
    return case


@pytest.fixture(autouse=True, scope="module")
def unhurried() -> Iterator[None]:
    """Rates have tests of their own (test_api_limits.py); here they would hide what lies behind them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "REQUESTS", Rate(10**9, per_second=1e6))
        patch.setattr(auth, "UNKNOWN", Rate(10**9, per_second=1e6))
        patch.setattr(secrets, "token_urlsafe", lambda n: CHANCE.randbytes(n).hex())
        patch.setattr(secrets, "token_hex", lambda n: CHANCE.randbytes(n).hex())
        yield
    STAGE.close()
    structlog.reset_defaults()


@pytest.fixture
def stage(unhurried: None) -> Stage:
    STAGE.renew()
    return STAGE


def judge(case: Any, response: Any) -> None:
    """What schemathesis does not know: problems have words, and the agent has no faults."""
    SEEN[case.operation.label].add(response.status_code)
    if response.status_code >= 400:
        problem = response.json()
        assert problem["detail"]
        assert problem["status"] == response.status_code
        assert response.status_code < 500 or problem["code"] in ("owner-silent", "storage"), problem


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_what_the_document_promises(case: Any, stage: Stage) -> None:
    response = case.call(headers=stage.headers)
    judge(case, response)
    case.validate_response(response, headers=stage.headers)


def test_every_operation_was_also_done() -> None:
    """Else all that was tried out above is refusals. Needs the tests above to have run."""
    if not SEEN:
        pytest.skip("nothing was tried before this test")
    labels = {found.ok().label for found in schema.get_all_operations()}
    assert SEEN.keys() == labels
    assert {label for label, statuses in SEEN.items() if min(statuses) >= 300} <= REFUSED


class Chains(schema.as_state_machine()):  # type: ignore[misc]
    """Along the links: what one answer names, the next request asks for."""

    def setup(self) -> None:
        STAGE.renew()
        self.ended: set[str] = set()

    def get_call_kwargs(self, case: Any) -> dict[str, Any]:
        return {"headers": STAGE.headers}

    def before_call(self, case: Any) -> None:
        # The token that all these requests are made with is in the list as well.
        if (case.path_parameters or {}).get("id") == STAGE.own_token:
            case.path_parameters["id"] = "another"

    def validate_response(self, response: Any, case: Any, additional_checks: Any = None, **kwargs: Any) -> None:
        # A peer that was forgotten is shown as that, and can be mapped no more. A Vpn whose deletion was answered by
        # 202 has not ended (RFC 9110 section 15.3.3) and can be taken back; `_stays_ended` looks at those that have.
        apart = [use_after_free] if case.operation.path.startswith(("/v1/peers/{name}", "/v1/vpns/{id}")) else []
        case.validate_response(
            response, excluded_checks=apart, transport_kwargs=kwargs or None, recorder=self.recorder
        )
        judge(case, response)
        self._stays_ended(case, response)

    def _stays_ended(self, case: Any, response: Any) -> None:
        """A Vpn that is gone stays gone. By id: another may have its name by now."""
        path = case.formatted_path
        if not case.operation.path.startswith("/v1/vpns/{id}") or "." not in path:
            return
        if case.method.upper() == "DELETE" and response.status_code == 204 and "plan" not in (case.query or {}):
            self.ended.add(path)
        elif path in self.ended:
            assert response.status_code >= 400, f"{path} had ended"


def test_chains_along_the_links() -> None:
    Chains.run(settings=CHAINS)


def test_every_operation_on_one_thing_is_reached_by_a_link() -> None:
    """A new operation on what another makes is linked from there, so that chains reach it."""
    document = load().raw_schema
    paths = document["paths"]
    linked = {
        link["operationId"]
        for methods in paths.values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    }
    on_one = {
        operation["operationId"] for path, methods in paths.items() for operation in methods.values() if "{" in path
    }
    assert on_one <= linked
