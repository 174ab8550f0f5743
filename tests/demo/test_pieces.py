"""The demo's pure pieces: refusals in words, tallies of pings, places of sites, the lines that it prints."""

from __future__ import annotations

import errno
import json

import pytest

from intertie.demo import report
from intertie.demo.kernel import Machine, explain
from intertie.demo.ping import Tally
from intertie.demo.report import Joined, Result, Step, check_line
from intertie.demo.rest import parse_pair, parse_vpn
from intertie.demo.sites import MOST, chosen
from intertie.demo.state import KnownHost, SiteAccess

USER = "a user namespace"


@pytest.mark.parametrize(
    ("number", "machine", "wanted"),
    [
        (errno.EPERM, Machine(root=False, clone=0), "sysctl kernel.unprivileged_userns_clone=1"),
        (errno.EACCES, Machine(root=False, apparmor=1), "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        (errno.ENOSPC, Machine(root=False, maximum=0), "sysctl user.max_user_namespaces="),
        (errno.EPERM, Machine(root=False, container=True), "--cap-add SYS_ADMIN --cap-add NET_ADMIN"),
        (errno.EPERM, Machine(root=False), "sudo .venv/bin/intertie demo"),
        (errno.EPERM, Machine(root=True), "CAP_SYS_ADMIN"),
        (errno.ENOSYS, Machine(root=True), "built without namespaces"),
    ],
)
def test_a_refusal_says_what_refuses_and_what_would_help(number: int, machine: Machine, wanted: str) -> None:
    abort = explain(USER, number, machine)
    assert abort.code == 2
    assert USER in abort.detail
    assert wanted in abort.hint


def test_a_refusal_blames_no_setting_that_is_right() -> None:
    hint = explain(USER, errno.EPERM, Machine(root=False, clone=1, apparmor=0, maximum=1000)).hint
    assert hint == "or run the demo as root: sudo .venv/bin/intertie demo"


def test_sites_have_distinct_underlays_on_shared_links() -> None:
    sites = chosen(MOST)
    for of in (lambda site: site.underlay, lambda site: site.underlay6):
        assert len({of(site).ip for site in sites}) == MOST
        assert len({of(site).network for site in sites}) == MOST
    assert all(site.router in site.underlay.network and site.router.ip != site.underlay.ip for site in sites)
    assert all(site.router6 in site.underlay6.network and site.router6.ip != site.underlay6.ip for site in sites)


def test_a_tally_counts_losses_once_and_measures_the_longest_silence() -> None:
    tally = Tally()
    for beat in range(5):
        tally.left(beat * 0.01)
    assert tally.came(1, 0.001) == (1, pytest.approx(1.0))  # type: ignore[comparison-overlap]
    assert tally.came(5, 0.5) == (5, pytest.approx(460.0))  # type: ignore[comparison-overlap]
    assert tally.came(5, 0.6) is None
    assert tally.late(0.9) == []
    assert tally.late(1.5) == [2, 3, 4]
    assert tally.late(1.6) == []
    text = tally.summary("10.0.0.1", 1.6)
    assert "5 packets transmitted, 2 received, +1 duplicates, 60% packet loss" in text
    assert "longest silence 499 ms" in text


def test_a_tally_outlives_sixteen_bits() -> None:
    tally = Tally()
    for number in range(1, 70001):
        assert tally.left(0.0) == number
        assert tally.came(number & 0xFFFF, 0.001) == (number, pytest.approx(1.0))  # type: ignore[comparison-overlap]
    assert "70000 received, 0% packet loss" in tally.summary("::1", 700.0)


VPN = {
    "id": "nantes.01",
    "name": "blue",
    "kind": "l2",
    "transport": "vxlan",
    "mtu": 1450,
    "phase": "ready",
    "reason": None,
    "members": [
        {"site": "nantes", "network": "blue", "answer": "accepted", "reason": None, "health": "ready"},
        {"site": "lyon", "network": None, "answer": "waiting", "reason": {"text": "no word"}, "health": "unknown"},
    ],
}
PAIR = {
    "from": {"site": "nantes", "host": "blue-nantes", "address": "10.10.0.2"},
    "to": {"site": "lyon", "host": "blue-lyon", "address": "10.10.0.130"},
    "rtt_ms": 0.41,
    "mtu": 1450,
    "ok": True,
}


def a_result(ok: bool) -> Result:
    joined = Joined(vpn=parse_vpn(VPN), accepted_ms=40, ready_ms=900, pairs=(parse_pair({**PAIR, "ok": ok}),))
    hosts = [
        KnownHost(name=f"blue-{site.name}", site=site.name, address=f"10.10.0.{site.index + 2}") for site in chosen(3)
    ]
    sites = [
        SiteAccess(name=site.name, url=f"http://127.0.0.1:{7575 + site.index}", token="secret", admin_token="more")
        for site in chosen(3)
    ]
    return Result(sites=sites, hosts=hosts, vpns=[joined], steps=[Step(name="agents", ms=7)], finished=True)


def test_a_vpn_is_ready_only_when_every_member_is() -> None:
    vpn = parse_vpn(VPN)
    assert not vpn.accepted
    assert not vpn.ready
    assert vpn.state == "ready (nantes accepted/ready, lyon waiting/unknown)"


def test_the_check_line_is_the_contracts_and_tells_no_secret() -> None:
    line = check_line(a_result(ok=True))
    told = json.loads(line)
    assert set(told) == {"sites", "vpns", "steps", "ok"}
    assert told["ok"] is True
    assert told["vpns"][0]["pairs"] == [PAIR]
    assert (told["vpns"][0]["accepted_ms"], told["vpns"][0]["ready_ms"]) == (40, 900)
    assert "secret" not in line
    assert json.loads(check_line(a_result(ok=False)))["ok"] is False


def test_a_pair_that_was_never_tried_is_not_green() -> None:
    result = a_result(ok=True)
    result.vpns[0].missing = ((result.hosts[0], result.hosts[2]),)
    assert not result.ok
    result.vpns[0].missing = ()
    assert result.ok
    result.vpns[0].pairs = ()
    assert not result.ok


def test_what_to_try_next_names_real_things() -> None:
    text = "\n".join(report.next_lines(a_result(ok=True)))
    assert "demo ping blue-nantes blue-lyon --interval 0.01" in text
    assert "demo kill lyon" in text
    assert "demo cut nantes rennes" in text
    assert "demo shell blue-rennes" in text
    assert "export INTERTIE_URL=http://127.0.0.1:7575 INTERTIE_TOKEN=secret" in text
    assert "http://127.0.0.1:7575/docs" in text
