"""--wait: progress while it lasts, and what the end of it is worth."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from intertie.cli.problem import Exit
from intertie.client.vpns import read_vpn
from intertie.client.waiting import Deadline, Wish, judge, too_late
from tests.unit.cli_run import Runner
from tests.unit.cli_site import SITE, Answer, Site, member, problem, vpn, waiting

ID = "nantes.01k0blue"
CREATE = ("vpn", "create", "blue", "--kind", "l2", "-a", "nantes:blue", "-a", "lyon")
READY = vpn(member("nantes"), member("lyon"))
ASKED = vpn(member("nantes", health="unknown"), waiting("lyon"), phase="waiting", reason="no answer yet from lyon")
HEARD = vpn(
    member("nantes", health="unknown"),
    member("lyon", health="unknown"),
    phase="waiting",
    reason="no probe crossed lately between nantes–lyon",
)


def made(site: Site, *states: dict[str, Any]) -> None:
    site.on("POST", "/v1/vpns", Answer(states[0], 201, {"Location": f"/v1/vpns/{ID}", "ETag": '"0.1.5"'}))
    site.holds_vpn(*states)


def test_created_and_ready(cli: Runner, site: Site) -> None:
    made(site, ASKED, HEARD, READY)
    said = cli(*CREATE, "--wait", "10")
    assert said.code == Exit.OK
    assert said.out.startswith("blue  l2 over vxlan  ready\n")
    told = [re.sub(r"^ +\d+\.\d s  ", "", line) for line in said.err.splitlines()]
    assert told == [
        "asking nantes, lyon",
        "waiting: nantes accepted/unknown, lyon waiting",
        "waiting: nantes accepted/unknown, lyon accepted/unknown",
        "ready: nantes accepted/ready, lyon accepted/ready",
    ]
    assert site.last("POST").headers["prefer"] == "wait=2"


def test_json_gives_the_last_body_and_keeps_stderr_for_problems(cli: Runner, site: Site) -> None:
    made(site, ASKED, READY)
    said = cli(*CREATE, "--wait", "10", "-o", "json")
    assert (said.code, json.loads(said.out), said.err) == (Exit.OK, READY, "")


def test_not_converged_shows_how_far_it_came(cli: Runner, site: Site) -> None:
    made(site, ASKED)
    said = cli(*CREATE, "--wait", "0.3", "-o", "json")
    assert said.code == Exit.NOT_CONVERGED
    assert json.loads(said.out) == ASKED
    told = json.loads(said.err)
    assert told["code"] == "not-converged"
    assert told["detail"] == "blue is waiting after 0.3 s: no answer yet from lyon"
    assert told["sites"] == ["lyon"]
    assert site.last("POST").headers["prefer"] == "wait=0.3"


def test_a_refusal_that_the_agent_heard(cli: Runner, site: Site) -> None:
    site.on("POST", "/v1/vpns", problem("overlap", 409, "lyon: 10.20.0.0/24 overlaps db", "renumber db", ["lyon"]))
    said = cli(*CREATE, "--wait", "10")
    assert said.code == Exit.REFUSED
    assert said.err.endswith("error: lyon: 10.20.0.0/24 overlaps db\nhint: renumber db\n")


def test_a_refusal_that_came_later_leaves_nothing(cli: Runner, site: Site) -> None:
    no = member("lyon", answer="refused", health="unknown", reason="quota of 4 Vpns", hint="ask lyon for more")
    made(site, ASKED, vpn(member("nantes"), no, phase="refused", reason="lyon: quota of 4 Vpns"))
    site.on("DELETE", f"/v1/vpns/{ID}", Answer(None, 204))
    said = cli(*CREATE, "--wait", "10")
    assert said.code == Exit.REFUSED
    assert said.err.endswith("error: lyon: quota of 4 Vpns\nhint: ask lyon for more\n")
    assert said.out == ""
    assert site.last("DELETE").headers["if-match"] == '"0.1.5"'


def test_a_refusal_is_told_though_it_cannot_be_cleared_away(cli: Runner, site: Site) -> None:
    no = member("lyon", answer="refused", health="unknown", reason="quota")
    made(site, vpn(member("nantes"), no, phase="refused", reason="lyon: quota"))
    site.on("DELETE", f"/v1/vpns/{ID}", problem("storage", 503))
    said = cli(*CREATE, "--wait", "10")
    assert (said.code, said.err.splitlines()[-1]) == (Exit.REFUSED, "error: lyon: quota")


def test_what_would_help_is_remembered_when_the_answers_are_gone(cli: Runner, site: Site) -> None:
    no = member("lyon", answer="refused", health="unknown", reason="no network db", hint="make db at lyon")
    heard = vpn(member("nantes", health="unknown"), no, phase="degraded", reason="lyon: no network db")
    gone = vpn(waiting("nantes"), waiting("lyon"), phase="refused", reason="lyon: no network db")
    made(site, heard, gone)
    site.on("DELETE", f"/v1/vpns/{ID}", Answer(None, 204))
    said = cli(*CREATE, "--wait", "10", "-o", "json")
    assert said.code == Exit.REFUSED
    told = json.loads(said.err)
    assert (told["detail"], told["hint"], told["sites"]) == ("lyon: no network db", "make db at lyon", ["lyon"])


def test_without_one_that_may_be_missing_it_is_partial(cli: Runner, site: Site) -> None:
    no = member("rennes", answer="refused", health="unknown", reason="no mapping", hint="site map nantes demo demo")
    part = vpn(member("nantes"), member("lyon"), no, require="any", phase="degraded", reason="rennes: no mapping")
    part["pairs"][0]["health"] = "ready"
    made(site, ASKED, part)
    said = cli(*CREATE, "-a", "rennes", "--require", "any", "--wait", "10")
    assert said.code == Exit.PARTIAL
    assert said.out.startswith("blue  l2 over vxlan  degraded\n")
    assert said.err.endswith("error: blue is degraded: rennes: no mapping\nhint: site map nantes demo demo\n")


def test_a_pair_that_stays_down_is_partial_at_the_end(cli: Runner, site: Site) -> None:
    made(site, vpn(member("nantes", health="down"), member("lyon", health="down"), phase="degraded", reason="down"))
    assert cli(*CREATE, "--wait", "0.2").code == Exit.PARTIAL


# ── Changing ───────────────────────────────────────────────────────────────────────────────────────────────

UPDATE = ("vpn", "update", "blue", "-a", "nantes:blue", "-a", "lyon", "-a", "rennes")
THREE = vpn(member("nantes"), member("lyon"), member("rennes"), version=[1, 6])


def test_an_update_carries_what_it_saw(cli: Runner, site: Site) -> None:
    site.holds_vpn(READY)
    site.on("PUT", f"/v1/vpns/{ID}", Answer(THREE))
    said = cli(*UPDATE, "-o", "json")
    assert (said.code, json.loads(said.out)) == (Exit.OK, THREE)
    asked = site.last("PUT")
    assert asked.headers["if-match"] == '"0.1.5"'
    assert asked.body == {
        "name": "blue",
        "attachments": [{"site": "nantes", "network": "blue"}, {"site": "lyon"}, {"site": "rennes"}],
    }


def test_an_update_waits_for_who_comes_and_who_goes(cli: Runner, site: Site) -> None:
    leaving = member("paris", answer="held", ports_in_use=1, leaving=True)
    coming = vpn(member("nantes"), member("lyon"), waiting("rennes"), leaving, phase="waiting", version=[1, 6])
    site.holds_vpn(READY, coming, vpn(*THREE["members"], leaving, version=[1, 6]), THREE)
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("PUT", f"/v1/vpns/{ID}", Answer(coming))
    said = cli(*UPDATE, "--wait", "10", "-o", "json")
    assert (said.code, json.loads(said.out)) == (Exit.OK, THREE)


def test_an_addition_that_was_taken_back_is_a_refusal(cli: Runner, site: Site) -> None:
    back = vpn(member("nantes"), member("lyon"), version=[1, 7], reason="rennes: prefix overlaps lab")
    site.holds_vpn(READY, back)
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("PUT", f"/v1/vpns/{ID}", Answer(THREE))
    said = cli(*UPDATE, "--wait", "10")
    assert said.code == Exit.REFUSED
    assert said.err.endswith("error: rennes: prefix overlaps lab\n")


def test_a_note_of_an_earlier_refusal_is_not_taken_for_one_of_now() -> None:
    noted = vpn(member("nantes"), member("lyon"), reason="paris: quota")
    wish = Wish(frozenset({"nantes", "lyon", "rennes"}), before="1.5")
    assert not judge(read_vpn(noted), wish).done
    assert judge(read_vpn({**noted, "version": [1, 6]}), wish).done


def test_another_sites_vpn_is_held_for_its_homes_word(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(*READY["members"], owner="lyon"), vpn(*THREE["members"], owner="lyon", version=[1, 6]))
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("PUT", f"/v1/vpns/{ID}", Answer(THREE))
    assert cli(*UPDATE, "--wait", "7").code == Exit.OK
    assert site.last("PUT").headers["prefer"] == "wait=7"


def test_a_silent_home_is_not_converged(cli: Runner, site: Site) -> None:
    site.holds_vpn(vpn(*READY["members"], owner="lyon"))
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("PUT", f"/v1/vpns/{ID}", problem("owner-silent", 503, "lyon does not answer"))
    assert cli(*UPDATE, "--wait", "1").code == Exit.NOT_CONVERGED


# ── Ending ─────────────────────────────────────────────────────────────────────────────────────────────────

CLOSING = vpn(member("nantes", answer="drained"), member("lyon"), phase="deleting")


def test_deleted_when_nobody_knows_it(cli: Runner, site: Site) -> None:
    site.holds_vpn(READY)
    site.answers[("GET", f"/v1/vpns/{ID}")] += [Answer(CLOSING), problem("not-found", 404)]
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("DELETE", f"/v1/vpns/{ID}", Answer(CLOSING, 202))
    said = cli("vpn", "delete", "blue", "--wait", "10")
    assert said.code == Exit.OK
    assert said.err.endswith("blue is gone\n")
    assert site.last("DELETE").headers["if-match"] == '"0.1.5"'


def test_ports_in_use_hold_it_and_are_named(cli: Runner, site: Site) -> None:
    held = vpn(member("nantes"), member("lyon", answer="held", ports_in_use=2), phase="deleting", reason="lyon")
    site.holds_vpn(READY, held)
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("DELETE", f"/v1/vpns/{ID}", Answer(held, 202))
    said = cli("vpn", "delete", "blue", "--wait", "0.2")
    assert said.code == Exit.REFUSED
    assert "error: lyon has 2 ports in use\n" in said.err


def test_a_silent_member_keeps_it(cli: Runner, site: Site) -> None:
    site.holds_vpn(READY, CLOSING)
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("DELETE", f"/v1/vpns/{ID}", Answer(CLOSING, 202))
    assert cli("vpn", "delete", "blue", "--wait", "0.2").code == Exit.NOT_CONVERGED


def test_deleted_at_once(cli: Runner, site: Site) -> None:
    site.holds_vpn(READY)
    site.on("DELETE", f"/v1/vpns/{ID}", Answer(None, 204))
    said = cli("vpn", "delete", "blue", "--force", "-o", "json")
    assert (said.code, said.out, said.err) == (Exit.OK, "", "")
    assert site.last("DELETE").query == {"force": "true"}


def test_a_planned_end_changes_nothing(cli: Runner, site: Site) -> None:
    site.holds_vpn(READY)
    change = {"site": "lyon", "op": "-", "what": "segment", "text": "- segment blue vni 65537"}
    site.on("DELETE", f"/v1/vpns/{ID}", Answer({"base_version": "0.1.5", "changes": [change]}))
    said = cli("vpn", "delete", "blue", "--plan")
    assert (said.code, said.out) == (
        Exit.OK,
        "- lyon  segment blue vni 65537\n\napply exactly this:\n  intertie vpn delete blue --base 0.1.5\n",
    )
    assert site.last("DELETE").query == {"plan": "true"}


def test_ending_another_sites_vpn_says_who_was_asked(cli: Runner, site: Site) -> None:
    site.holds_vpn(READY)
    pending = {"proposal": "p1", "waiting_for": "lyon"}
    site.on("DELETE", f"/v1/vpns/{ID}", Answer({**READY, "pending": pending}, 202))
    said = cli("vpn", "delete", "blue")
    assert (said.code, said.err) == (Exit.OK, "asked lyon, the home; it has not spoken yet\n")


# ── Pieces ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_ends_the_wait_only_when_it_is_final() -> None:
    """With `require all` a refusal makes the home withdraw; until it has, the wait goes on."""
    no = member("lyon", answer="refused", health="unknown", reason="no")
    wish = Wish(frozenset({"nantes", "lyon"}))
    for require, done in (("all", False), ("any", True)):
        found = vpn(member("nantes"), no, require=require, phase="degraded", reason="lyon: no")
        assert judge(read_vpn(found), wish).done is done


@pytest.mark.parametrize(("ports", "words"), [(1, "lyon has 1 port in use"), (3, "lyon has 3 ports in use")])
def test_ports_are_counted_in_english(ports: int, words: str) -> None:
    held = vpn(member("nantes"), member("lyon", answer="held", ports_in_use=ports), phase="deleting")
    assert too_late(read_vpn(held), 1).detail == words


def test_the_last_look_is_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        "intertie.client.waiting.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    )
    looks = [clock[0] for _ in Deadline(10.0, lambda: clock[0]).looks()]
    assert looks[0] == 0.0
    assert looks[-1] == 10.0
    assert len(looks) < 20
    assert len(list(Deadline(0.0, lambda: clock[0]).looks())) == 1
