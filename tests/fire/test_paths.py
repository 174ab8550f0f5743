"""One fault of the path between agents each: what users are told meanwhile is kept afterwards, and nobody's packets
notice."""

from __future__ import annotations

from intertie.testing.fault_proxy import Fault
from tests.fire.conftest import Fire
from tests.net.topologies.rig import until

LINKS = (("nantes", "lyon"), ("nantes", "rennes"), ("lyon", "rennes"))
EVERYWHERE = {"lyon": "", "rennes": ""}
LOCAL = 5.0
"""Seconds within which a request that concerns only its own site is served, whoever else is silent (I15)."""


def answers(fire: Fire, site: str, vpn: str) -> dict[str, str]:
    return {m["site"]: m["answer"] for m in fire[site].vpn(vpn)["members"]}


def agreed(fire: Fire, site: str, vpn: str) -> bool:
    return set(answers(fire, site, vpn).values()) == {"accepted"}


def state(fire: Fire, site: str, peer: str) -> str:
    return str(next(p["state"] for p in fire[site].items("/v1/peers") if p["name"] == peer))


def make(fire: Fire, name: str, prefix: str, wait: float) -> None:
    """A stretched network from nantes to all others."""
    assert fire.ledger.create_network("nantes", name, prefix)
    assert fire.ledger.create_vpn("nantes", name, "l2", {"nantes": name, **EVERYWHERE}, wait)


def test_delay(fire: Fire) -> None:
    """Every word comes a second late: a Vpn takes longer, and is the same."""
    with fire.story():
        for link in LINKS:
            fire.net.both(*link, Fault(delay=1.0))
        make(fire, "delay", "10.30.1.0/24", wait=20)
        assert agreed(fire, "nantes", "delay")
        assert fire.ledger.create_host("lyon", "delayed", "delay")


def test_slow(fire: Fire) -> None:
    """A link of 4 kB/s."""
    with fire.story():
        fire.net.both("nantes", "lyon", Fault(rate=4000))
        make(fire, "slow", "10.30.2.0/24", wait=30)
        assert agreed(fire, "nantes", "slow")


def test_drop(fire: Fire) -> None:
    """lyon hears nobody and nobody hears lyon. It serves its own users; what needs it waits, or is refused whole."""
    with fire.story(end_quiet=True):
        fire.net.isolate("lyon", Fault(cut=True))
        make(fire, "drop", "10.30.3.0/24", wait=2)
        assert answers(fire, "nantes", "drop") == {"nantes": "accepted", "lyon": "waiting", "rennes": "accepted"}
        lyon = fire["lyon"]
        lyon.seconds, kept = LOCAL, lyon.seconds
        lyon.hang_up()
        assert fire.ledger.create_network("lyon", "alone", "10.30.4.0/24")
        assert fire.ledger.create_host("lyon", "alone", "alone")
        assert fire.ledger.create_host("lyon", "in-own-range", "blue")
        assert fire.ledger.create_vpn("lyon", "alone", "l2", {"lyon": "alone", "rennes": ""})
        assert fire.ledger.delete_host("lyon", "alone")
        assert lyon.vpn("stretch")["id"]
        lyon.seconds = kept
        lyon.hang_up()
        # A change that its home does not hear is refused for good: nothing of it may come about later.
        told = fire.ledger.update_vpn("lyon", "stretch", {"nantes": "blue", "lyon": ""}, wait=2)
        assert told is not None
        assert (told.status_code, told.json()["code"]) == (503, "owner-silent")
        until("nantes misses lyon", lambda: state(fire, "nantes", "lyon") == "silent")
    assert agreed(fire, "rennes", "drop")
    assert len(fire["nantes"].vpn("stretch")["members"]) == 3


def test_one_way(fire: Fire) -> None:
    """nantes reaches lyon and hears nothing back: neither believes more than it knows."""
    with fire.story():
        fire.net.set("lyon", "nantes", Fault(cut=True))
        make(fire, "oneway", "10.30.5.0/24", wait=2)
        assert answers(fire, "nantes", "oneway")["lyon"] == "waiting"
        assert fire.ledger.create_vpn("lyon", "back", "l3", {"lyon": "db", "nantes": "db"}, wait=2)
        until("nantes misses lyon", lambda: state(fire, "nantes", "lyon") == "silent")


def test_half_open(fire: Fire) -> None:
    """lyon dies and comes back, and nobody hears that its connections ended: they are missed, not trusted."""
    with fire.story():
        fire.net.isolate("lyon", Fault(half_open=True))
        fire.rig.restart("lyon")
        make(fire, "halfopen", "10.30.6.0/24", wait=20)
        assert agreed(fire, "nantes", "halfopen")


def test_reset_in_the_middle_of_a_reply(fire: Fire) -> None:
    """What was heard and not answered is said again, and is one and the same."""
    with fire.story():
        for number, octets in enumerate((0, 900, 1700, 2600, 4000)):
            fire.net.set("lyon", "nantes", Fault(reset_after=octets))
            make(fire, f"reset{number}", f"10.30.1{number}.0/24", wait=1)
            fire.net.break_off("lyon", "nantes")
        resets = fire.net.traffic()["lyon", "nantes"].resets
        assert resets >= 4, f"only {resets} connections were reset"


def test_clogged_links_open_in_another_order(fire: Fire) -> None:
    """Each link is clogged while it has something to say; what was said last is heard first."""
    with fire.story():
        make(fire, "clog", "10.30.29.0/24", wait=20)
        for number, link in enumerate(LINKS):
            fire.net.both(*link, Fault(clog=True))
            make(fire, f"clog{number}", f"10.30.2{number}.0/24", wait=1)
        assert fire.ledger.delete_vpn("nantes", "clog0") is not None
        # The home's silence is told; but the word is on its way, and what takes it back comes after it.
        told = fire.ledger.update_vpn("lyon", "clog", {"nantes": "clog", "lyon": ""}, wait=1)
        assert told is not None
        assert (told.status_code, told.json()["code"]) == (503, "owner-silent")
        for one, other in reversed(LINKS):
            fire.net.lift((one, other), (other, one))
            make(fire, f"clog-{one}-{other}", f"10.30.{30 + LINKS.index((one, other))}.0/24", wait=1)
