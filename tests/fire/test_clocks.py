"""Wrong clocks and certificates at their end. A clock decides whether certificates are in force, and nothing else: no
promise, no health and no packet depends on what time a site believes it is."""

from __future__ import annotations

from tests.fire.conftest import Fire
from tests.fire.test_paths import agreed, make, state
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


def shut_out(fire: Fire, ahead: float, name: str, prefix: str) -> None:
    """lyon's clock is set wrong by more than certificates allow: it is silent to its peers, who say why, and its own
    users are served. Set right, it is met again."""
    with fire.story():
        fire.rig.set_clock("lyon", ahead)
        for peer in ("nantes", "rennes"):
            fire.net.break_off("lyon", peer)  # connections that were made in time are good for hours
        until("nantes misses lyon", lambda: state(fire, "nantes", "lyon") == "silent")
        until("lyon misses nantes", lambda: state(fire, "lyon", "nantes") == "silent")
        until("lyon says why", lambda: "certificate" in problem(fire, "lyon", "nantes"))
        make(fire, name, prefix, wait=1)
        assert not agreed(fire, "nantes", name)
        assert fire.ledger.create_host("lyon", f"{name}-here", "blue")
        assert fire.ledger.create_vpn("lyon", f"{name}-back", "l3", {"lyon": "db", "rennes": "db"}, wait=1)


def in_time(fire: Fire, ahead: float, name: str, prefix: str) -> None:
    """lyon's clock is wrong by hours, and nobody notices."""
    with fire.story():
        fire.rig.set_clock("lyon", ahead)
        fire.rig.restart("lyon")
        make(fire, name, prefix, wait=20)
        assert agreed(fire, "nantes", name)
        told = fire.ledger.update_vpn("lyon", name, {"nantes": name, "lyon": ""}, wait=20)
        assert told is not None
        assert told.is_success, f"asked for at lyon, whose clock is {ahead / HOUR:g} h ahead: {told.text}"


def test_clock_a_day_ahead(fire: Fire) -> None:
    shut_out(fire, 26 * HOUR, "dayahead", "10.51.0.0/24")


def test_clock_a_day_behind(fire: Fire) -> None:
    """What lyon shows has run out by everybody else's clock."""
    shut_out(fire, -26 * HOUR, "daybehind", "10.51.1.0/24")


def test_clock_hours_ahead(fire: Fire) -> None:
    in_time(fire, 7 * HOUR, "ahead", "10.52.0.0/24")


def test_clock_hours_behind(fire: Fire) -> None:
    in_time(fire, -7 * HOUR, "behind", "10.52.1.0/24")


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
