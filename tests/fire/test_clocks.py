"""Wrong clocks and certificates at their end. A clock decides whether certificates are in force, and nothing else: no
promise, no health and no packet depends on what time a site believes it is."""

from __future__ import annotations

import httpx

from tests.fire.conftest import Fire
from tests.fire.test_paths import LINKS, agreed, make, state
from tests.net.topologies.rig import until

HOUR = 3600.0
SHORT = 6.0
"""Seconds that a certificate lives, where it is to run out."""


def problem(fire: Fire, site: str, peer: str) -> str:
    return str(next(p["problem"] for p in fire[site].items("/v1/peers") if p["name"] == peer))


def test_certificates_run_out(fire: Fire) -> None:
    """lyon's certificates live for seconds. They are renewed unnoticed; and if the process sleeps past their end,
    what they vouched for is over, and a new one takes their place."""
    fire.rig.launch_as("lyon", lifetime=SHORT)
    try:
        with fire.story():
            fire.rig.restart("lyon")
            until("lyon is met again", lambda: state(fire, "nantes", "lyon") == "up")
            before = fire.net.traffic()["lyon", "nantes"].connections
            make(fire, "expire", "10.50.0.0/24", wait=20)
            until(
                "lyon's certificates were renewed",
                lambda: fire.net.traffic()["lyon", "nantes"].connections >= before + 3,
            )
            assert agreed(fire, "nantes", "expire")
            fire.rig.stop("lyon")
            make(fire, "expire-too", "10.50.1.0/24", wait=SHORT + 2)
            fire.rig.go_on("lyon")
            until("lyon has heard of it", lambda: agreed(fire, "nantes", "expire-too"))
    finally:
        fire.rig.launch_as("lyon")
        fire.rig.restart("lyon")


def test_clocks_a_day_wrong(fire: Fire) -> None:
    """lyon's clock is a day ahead, rennes' a day behind, so that what it shows has run out by everybody else's. They
    are silent to their peers, who say why, and their own users are served. Set right, they are met again."""
    with fire.story():
        fire.rig.set_clock("lyon", 26 * HOUR)
        fire.rig.set_clock("rennes", -26 * HOUR)
        for one, other in LINKS:
            fire.net.break_off(one, other)  # connections that were made in time are good for hours
        for one, other in LINKS:
            until(f"{one} misses {other}", lambda o=one, p=other: state(fire, o, p) == "silent")  # type: ignore[misc]
            until(f"{other} misses {one}", lambda o=other, p=one: state(fire, o, p) == "silent")  # type: ignore[misc]
        until("lyon says why", lambda: "certificate" in problem(fire, "lyon", "nantes"))
        until("nantes says why", lambda: "certificate" in problem(fire, "nantes", "rennes"))
        make(fire, "wrongday", "10.51.0.0/24", wait=1)
        assert not agreed(fire, "nantes", "wrongday")
        assert fire.ledger.create_host("lyon", "ahead", "blue")
        assert fire.ledger.create_host("rennes", "behind", "blue")
        assert fire.ledger.create_vpn("lyon", "wrongday-back", "l3", {"lyon": "db", "rennes": "db"}, wait=1)


def test_clocks_hours_wrong(fire: Fire) -> None:
    """lyon's clock is seven hours ahead, rennes' seven behind: that is noticed where a time is told from one site to
    another, and nowhere else."""
    with fire.story():
        for site, ahead in (("lyon", 7 * HOUR), ("rennes", -7 * HOUR)):
            fire.rig.set_clock(site, ahead)
            fire.rig.restart(site)
        make(fire, "hours", "10.52.0.0/24", wait=30)
        assert agreed(fire, "nantes", "hours")
        assert proposed(fire, "lyon", "hours", {"nantes": "hours", "lyon": ""}).is_success
        # A proposal says until when it is good, by its maker's clock.
        told = proposed(fire, "rennes", "stretch", {"nantes": "blue", "rennes": ""})
        assert "it came too late" in told.text, told.text


def proposed(fire: Fire, at: str, name: str, ends: dict[str, str]) -> httpx.Response:
    """The home's word on a change that is asked for elsewhere, of the Vpn as it stands there by then."""
    told: list[httpx.Response | None] = []

    def current() -> bool:
        told.append(fire.ledger.update_vpn(at, name, ends, wait=20))
        return told[-1] is not None and "changed meanwhile" not in told[-1].text

    until(f"the home of {name} has an answer for {at}", current)
    assert told[-1] is not None
    return told[-1]


def test_health_does_not_outlive_packets_when_the_clock_is_set_back(fire: Fire) -> None:
    """lyon's clock is ahead and then set right; after that, no packet crosses to nantes. It may not be called ready
    for the hours by which the clock was wrong."""
    fire.rig.set_clock("lyon", 5 * HOUR)
    until("lyon has measured by the wrong clock", lambda: fire["lyon"].health("stretch", "nantes", "lyon") == "ready")
    probed(fire, "lyon")
    fire.rig.set_clock("lyon", 0.0)
    fire.rig.cut("nantes", "lyon")
    until("lyon sees that nothing crosses", lambda: fire["lyon"].health("stretch", "nantes", "lyon") != "ready")
    fire.rig.heal()
    with fire.story():
        pass


def probed(fire: Fire, site: str) -> None:
    """Returns when the site has measured anew."""

    def when() -> str:
        return str(next(m["probed_at"] for m in fire[site].vpn("stretch")["members"] if m["site"] == site))

    before = when()
    until("a probe has crossed again", lambda: when() != before)
