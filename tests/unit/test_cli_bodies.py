"""The bodies that the tests' site gives have the fields of the agent's own: else these tests would prove nothing."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from intertie.model.bodies import TransportFacts
from intertie.model.views import (
    EndView,
    Event,
    HostView,
    InvitationView,
    MappingView,
    MemberView,
    NetworkView,
    PairView,
    PeerView,
    PlanChange,
    Problem,
    SitePlan,
    SiteView,
    TokenView,
    VerifiedPair,
    VpnView,
)
from tests.unit import test_cli_calls, test_cli_golden
from tests.unit.cli_site import PEERS, SITE, member, problem, vpn

BLUE = vpn(member("nantes"), member("lyon"))


def names(kind: type) -> set[str]:
    """As JSON has them: `from_` is `from` there."""
    return {each.name.rstrip("_") for each in fields(kind)}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (BLUE, VpnView),
        (BLUE["members"][0], MemberView),
        (BLUE["pairs"][0], PairView),
        (PEERS[0], PeerView),
        (problem("stale", 412).body, Problem),
        (test_cli_calls.MAPPING, MappingView),
        (test_cli_calls.EVENTS[0], Event),
        (test_cli_golden.END, EndView),
        (test_cli_golden.PLAN["changes"][0], PlanChange),
    ],
)
def test_they_are_the_same(body: dict[str, Any], kind: type) -> None:
    assert set(body) == names(kind)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (SITE, SiteView),
        (SITE["transports"]["vxlan"], TransportFacts),  # type: ignore[index]
        (test_cli_golden.NETWORKS[0], NetworkView),
        (test_cli_golden.HOSTS[0], HostView),
        ({"token": "", "expires_at": ""}, InvitationView),
        ({"id": "", "project": "", "role": "", "created_at": "", "token": ""}, TokenView),
        ({"base_version": "", "changes": [], "orphans": [], "kept": []}, SitePlan),
        ({"from": {}, "to": {}, "rtt_ms": 0, "mtu": 0, "ok": True, "broken_at": "", "hint": ""}, VerifiedPair),
    ],
)
def test_they_are_a_part(body: dict[str, Any], kind: type) -> None:
    assert set(body) <= names(kind)
