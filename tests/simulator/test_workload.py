"""Stories are drawn as promised: the same ones everywhere, in order of time, with everything in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256

import pytest

from intertie.testing.simulator.profiles import PROFILES, Profile
from intertie.testing.simulator.story import Story, Verb
from intertie.testing.simulator.workload import ACTS, RULES, story
from intertie.testing.simulator.workload.scenes import SCENES

MIXED = PROFILES["mixed"]
SEEDS = range(500)
DIGEST = """
from hashlib import sha256
from intertie.testing.simulator.profiles import PROFILES
from intertie.testing.simulator.workload import story
whole = sha256()
for profile in PROFILES.values():
    for seed in range(8):
        whole.update(repr(story(seed, profile)).encode())
print(whole.hexdigest())
"""


@pytest.fixture(scope="module")
def many() -> list[Story]:
    return [story(seed, MIXED) for seed in SEEDS]


def test_the_same_stories_under_any_hash_seed() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for seed in ("0", "1")
    ]
    here = sha256()
    for profile in PROFILES.values():
        for seed in range(8):
            here.update(repr(story(seed, profile)).encode())
    assert said == [f"{here.hexdigest()}\n"] * 2


def test_another_seed_or_profile_is_another_story() -> None:
    assert story(1, MIXED).steps != story(2, MIXED).steps
    assert story(1, MIXED).steps != story(1, PROFILES["churn"]).steps


def test_every_verb_is_met(many: list[Story]) -> None:
    met = {step.verb for found in many for step in found.steps}
    assert met == set(Verb) - {Verb.CLONE}, "no player yet"


def test_every_lie_and_crash_point_is_met(many: list[Story]) -> None:
    met = {(step.verb, step.point) for found in many for step in found.steps}
    assert {p for v, p in met if v is Verb.LIE} == set(MIXED.lies)
    assert {p for v, p in met if v is Verb.CRASH} == {"", *MIXED.points}
    assert {p for v, p in met if v is Verb.CLOUD_FAILS} == {"", "done", "partial"}


def test_networks_of_all_families_kinds_and_projects_are_met(many: list[Story]) -> None:
    steps = [step for found in many for step in found.steps]
    nets = [s.prefixes for s in steps if s.verb is Verb.NETWORK]
    assert any(len(p) == 2 and "." in p[0] and ":" in p[1] for p in nets)
    assert {s.kind for s in steps if s.verb is Verb.VPN} == {"l2", "l3"}
    assert {s.require for s in steps if s.verb is Verb.VPN} == {"all", "any"}
    assert {s.project for s in steps} == {"demo", "ops", "lab"}
    assert {s.seconds for s in steps if s.verb is Verb.VPN} == set(MIXED.waits)
    both = [s for s in steps if s.kind == "l2" and all(":" in a for a in s.attachments) and len(s.attachments) > 1]
    assert both, "an existing network on both sides"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_steps_are_in_order_of_time_and_within_bounds(profile: Profile) -> None:
    for seed in range(60):
        told = story(seed, profile)
        times = [s.at for s in told.steps]
        assert times == sorted(times)
        assert times[0] >= 0.0
        low, high = profile.sites
        assert low <= len(told.sites) <= high
        # What is begun is ended: a scene may add some steps and some minutes.
        assert len(told.steps) <= profile.steps[1] + 80
        assert times[-1] <= max(profile.seconds[1], profile.absence) + 2 * profile.trouble[1] + 120
        enrolled = {s.site for s in told.steps if s.verb is Verb.ENROL}
        assert {s.site for s in told.steps if s.site} <= {*told.sites, *enrolled}


def test_rates_name_what_there_is() -> None:
    for profile in PROFILES.values():
        for table, acts in ACTS.items():
            assert set(getattr(profile, table)) <= set(acts), (profile.name, table)
        assert set(profile.mix) <= set(ACTS)


def test_every_act_is_drawn_by_some_profile_and_every_rule_has_one() -> None:
    for table, acts in ACTS.items():
        drawn = {name for profile in PROFILES.values() for name, rate in getattr(profile, table).items() if rate}
        assert drawn == set(acts)
    known = {name for acts in ACTS.values() for name in acts}
    for rule, names in RULES.items():
        assert set(names) <= known, rule
    assert {n for scene in SCENES.values() for n in scene.needs} <= set(ACTS["faults"])


def test_a_part_of_the_faults_is_off_in_each_story(many: list[Story]) -> None:
    faults = {Verb.CUT, Verb.CRASH, Verb.PAUSE, Verb.CLOCK, Verb.LIE, Verb.DROP, Verb.CLOG, Verb.CLOUD_FAILS}
    kinds = Counter(len({s.verb for s in found.steps} & faults) for found in many)
    assert len(kinds) >= 6, "some stories have nearly none of them, some nearly all"
    assert not {s.verb for s in story(1, PROFILES["calm"]).steps} & faults


def test_a_story_reads_like_one() -> None:
    lines = [step.text() for step in story(3, MIXED).steps]
    assert any("vpn site=" in line and "kind=l2" in line for line in lines)
    assert all(line.split()[0].replace(".", "").isdigit() for line in lines)


def test_the_dead_peer_is_dead_for_thirty_days() -> None:
    told = story(0, PROFILES["long-silence"])
    dead = next(s for s in told.steps if s.verb is Verb.CRASH and not s.point)
    back = max(s.at for s in told.steps if s.verb is Verb.START and s.site == dead.site)
    assert back - dead.at >= 30 * 86400


def test_one_site_at_most_cannot_be_called_and_never_the_first(many: list[Story]) -> None:
    hidden = [found for found in many if found.hidden]
    assert hidden
    for found in hidden:
        assert len(found.hidden) == 1
        assert found.hidden[0] in found.sites[1:]


def test_hosts_ask_for_addresses_and_one_key_comes_twice(many: list[Story]) -> None:
    assert any(s.verb is Verb.HOST and s.prefixes for found in many for s in found.steps)
    keys = [Counter(s.point for s in found.steps if s.verb is Verb.VPN and s.point) for found in many]
    assert any(count > 1 for found in keys for count in found.values())
