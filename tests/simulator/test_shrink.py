"""Shrinking, on a toy federation of which we know what breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from intertie.testing.simulator.keepsake import Keepsake, as_json, from_json
from intertie.testing.simulator.shrink import plainer, shrink, without_site
from intertie.testing.simulator.story import Step, Story, Verb
from tests.simulator.toy import play, tell


def breaks(invariant: str) -> tuple[list[Story], Callable[[Story], bool]]:
    """(all stories played, a judge of one invariant)"""
    played: list[Story] = []

    def judge(story: Story) -> bool:
        played.append(story)
        return any(v.invariant == invariant for v in play(story).violations)

    return played, judge


def test_what_breaks_it_is_all_that_is_left() -> None:
    _, judge = breaks("I4")
    small = shrink(tell(3, "mixed"), judge)
    crash, vpn = small.story.steps
    assert (crash.verb, crash.site, crash.amount) == (Verb.CRASH, "lyon", 0.0)
    assert (vpn.verb, vpn.site, len(vpn.attachments), vpn.prefixes) == (Verb.VPN, "lyon", 2, ())
    assert [crash.at, vpn.at] == [0.0, 0.0]
    assert small.story.sites == ("nantes", "lyon")
    assert not small.spent


def test_it_stays_the_same_invariant() -> None:
    """A story that breaks two shrinks to each of them by itself."""
    both = Story(seed=1, profile="mixed", sites=tell(3, "").sites, steps=tell(3, "").steps + tell(7, "").steps)
    for invariant, verb in (("I4", Verb.VPN), ("I5", Verb.CLOCK)):
        small = shrink(both, breaks(invariant)[1])
        assert {v.invariant for v in play(small.story).violations} == {invariant}
        assert small.story.steps[-1].verb is verb


def test_numbers_get_small() -> None:
    _, judge = breaks("I5")
    (clock,) = shrink(tell(7, "mixed"), judge).story.steps
    assert -2.0 <= clock.amount < 0


def test_the_same_story_shrinks_the_same_way() -> None:
    ways = [breaks("I4") for _ in range(2)]
    for _, judge in ways:
        shrink(tell(3, "mixed"), judge)
    assert ways[0][0] == ways[1][0]


@pytest.mark.parametrize("plays", [0, 1, 7])
def test_the_budget_holds_and_what_was_found_still_breaks(plays: int) -> None:
    played, judge = breaks("I4")
    small = shrink(tell(3, "mixed"), judge, plays)
    assert len(played) == small.plays == plays
    assert small.spent
    assert any(v.invariant == "I4" for v in play(small.story).violations)


def test_nothing_is_played_twice() -> None:
    played, judge = breaks("I4")
    shrink(tell(3, "mixed"), judge)
    assert len(set(played)) == len(played)
    assert len(played) < 150


def test_a_site_that_never_was_is_not_spoken_of() -> None:
    story = without_site(tell(3, "mixed"), "rennes")
    assert "rennes" not in story.sites
    assert all("rennes" not in s.text() for s in story.steps)


def test_every_chain_of_plainer_steps_ends() -> None:
    rough = Step(
        at=1.0,
        verb=Verb.HALF_OPEN,
        attachments=("a", "b"),
        prefixes=("10.0.0.0/8",),
        point="done",
        require="any",
        force=True,
        amount=-17.77,
        seconds=1e9,
    )
    waiting, seen = [rough], {rough}
    while waiting:
        for step in plainer(waiting.pop()):
            assert step not in seen or step != rough
            if step not in seen:
                seen.add(step)
                waiting.append(step)
    assert Step(at=1.0, verb=Verb.DROP, point="done") in seen
    assert len(seen) < 20_000


def test_a_story_survives_being_kept() -> None:
    kept = Keepsake(story=tell(3, "mixed"), broke="I4", what="„quoted“ and\nbroken")
    assert from_json(as_json(kept)) == kept
    empty = Keepsake(story=Story(seed=1, profile="p", sites=("a",), steps=()))
    assert from_json(as_json(empty)) == empty
