"""The rules that stand before the table in docs/partitions.md, each with the tests that show it."""

from __future__ import annotations

from dataclasses import dataclass

STORIES = "tests/federation/partitions/test_stories.py"
CELLS = "tests/federation/partitions/test_cells.py"


@dataclass(frozen=True, slots=True)
class Rule:
    words: str
    tests: tuple[str, ...]


def _rule(words: str, *tests: str) -> Rule:
    return Rule(words, tuple(t if "::" in t else f"{STORIES}::{t}" for t in tests))


INTRODUCTION = """# When something is wrong: what happens, and what you are told

<!-- Written by tools/partitions.py from the table that the tests play out. Do not edit it here. -->

What each operation does while a peer, the home of a Vpn, most of the federation or your own site is not well. Every
line is shown by the test that it names: a whole federation in one process, asked through the REST API, and judged by
what its clouds and data planes hold, at that moment and after all is well again.

The scene: nantes is the *home* of the L2 Vpn `stretch` (it made it), lyon and rennes are members. You stand at
nantes, or, where it says “at another member”, at rennes. The peer that is silent or forgotten is lyon; where sites
meet for the first time, it is metz. The tests are in `tests/federation/partitions/`, those of the cells in
`test_cells.py` there.

## The rules behind it
"""

RULES = (
    _rule(
        "**Silence changes nothing.** Who does not answer is `unknown`; its records stand, and what forwards goes "
        "on, to and from it too. Nobody is cut off because it cannot hear.",
        f"{CELLS}::test_looks[peer-silent]",
        f"{CELLS}::test_looks[alone]",
    ),
    _rule(
        "**What is local always works**, with or without anybody else: networks, hosts, addresses from your own part "
        "of a range, tokens, invitations.",
        f"{CELLS}::test_cell[alone:host-create]",
        "test_an_invitation_made_while_alone_serves_afterwards",
    ),
    _rule(
        "**There is no quorum.** A home decides alone; both halves of a federation go on, and come together without "
        "a clash, since numbers and addresses are given out only by who holds them.",
        "test_both_halves_of_a_federation_go_on_and_come_together_without_a_clash",
    ),
    _rule(
        "**What waits, comes by itself.** `waiting` and `deleting` name whom they wait for, and need not be asked "
        "for again. A change that is asked of another site is the exception: unheard, it dies after ten minutes.",
        f"{CELLS}::test_cell[peer-silent:vpn-create-l2]",
        "test_a_change_that_nobody_waits_for_dies_after_ten_minutes",
    ),
    _rule(
        "**Refused means that nothing is made**, anywhere, then or later. What is said to be done is durable first.",
        f"{CELLS}::test_cell[disk-full:vpn-create-l2-wait]",
    ),
    _rule(
        "**A site whose disk is full** answers its users with `storage`, and counts as silent for what is new; it "
        "joins when there is space.",
        "test_a_member_with_a_full_disk_counts_as_silent_and_joins_when_there_is_space",
    ),
    _rule(
        "**A site that lost its store, or got an older one back**, notices it by `keys/marker`, which therefore is "
        "not to be put back together with the database. It removes nothing, and promises, gives out and ends nothing "
        "until every peer has given back what it holds. With peers in reach that takes a second; who is gone for "
        "good is to be forgotten first.",
        "test_a_restored_site_that_reaches_its_peers_is_itself_again_at_once",
        "test_a_site_with_an_empty_store_that_reaches_its_peers_has_its_vpns_again_at_once",
        "test_a_restart_does_not_end_a_recovery",
        "test_who_is_gone_for_good_is_waited_for_until_it_is_forgotten",
        "test_a_restored_home_ends_nothing_behind_the_back_of_a_member_that_it_does_not_remember",
        "test_a_site_without_its_past_gives_no_host_an_address_that_may_be_anothers",
    ),
    _rule(
        "**A wrong clock** does not touch health, silence or forwarding. A change asked of another site fails if "
        "yours is more than ten minutes slow, or the home's fast; beyond half a day peers refuse each other's "
        "certificates, and are silent.",
        "test_a_clock_that_is_set_back_does_not_keep_what_is_lost_ready",
        "test_a_clock_that_is_set_back_does_not_hide_that_a_path_is_lost",
        "test_a_clock_that_is_set_back_does_not_keep_a_segment_blocked",
        "test_a_home_whose_clock_is_fast_says_that_a_clock_is_wrong",
        "test_a_clock_that_is_put_right_again_undoes_nothing",
        "tests/federation/partitions/test_clock.py"
        "::test_a_clock_wrong_by_more_than_a_day_makes_the_site_silent_to_all_and_says_why",
    ),
    _rule(
        "**A member that is lost for good** is waited for until `site forget`: then it is out of what it was to "
        "leave, and what was to end, ends.",
        "test_a_member_that_never_returns_is_out_once_it_is_forgotten",
    ),
    _rule(
        "**A home that is lost for good** is replaced by an operator's word: `vpn adopt` at a member, `site forget` "
        "at all, and a `vpn update` without it.",
        "test_a_home_that_is_lost_for_good_is_replaced",
    ),
)

LEGEND = """## At a glance

✓ done at once, wherever it can be heard · *later*: accepted, and done without another word when those who are missing
answer · ✗ accepted, and not done · a code: refused, with that problem · – nobody can ask. The exit code of the
command line stands with each problem below; `--wait` that ends before all is as wished is 3, or 5 if a part of it is.
"""
