"""One fault of an agent's process or disk each. What forwards waits for no agent; what was promised survives."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import httpx

from tests.fire.conftest import Fire
from tests.fire.settled import rounds
from tests.fire.test_paths import agreed, make, state
from tests.net.topologies.rig import Site, until


def test_kill_nine_at_any_moment(fire: Fire) -> None:
    """The home, then a member, is killed at a moment of chance while a Vpn is made, and started again."""
    chance = random.Random("kill nine")
    with fire.story(end_quiet=True):
        for number, victim in enumerate(("nantes", "nantes", "lyon", "rennes")):
            name = f"kill{number}"
            assert fire.ledger.create_network("nantes", name, f"10.40.{number}.0/24")
            timer = threading.Timer(chance.uniform(0.0, 0.2), fire.rig.murder, [victim])
            timer.start()
            fire.ledger.create_vpn("nantes", name, "l2", {"nantes": name, "lyon": "", "rennes": ""}, wait=1)
            timer.join()
            until(f"{victim} is dead", lambda v=victim: not fire.rig.alive(v))  # type: ignore[misc]
            fire[victim].start()
            fire[victim].wait_ready()


def test_stopped(fire: Fire) -> None:
    """lyon's process stands still (SIGSTOP) for longer than its peers believe in it, and then goes on: it says
    nothing that was over meanwhile, and hears what it missed."""
    with fire.story():
        fire.rig.stop("lyon")
        make(fire, "stopped", "10.41.0.0/24", wait=2)
        assert not agreed(fire, "nantes", "stopped")
        until("nantes misses lyon", lambda: state(fire, "nantes", "lyon") == "silent")
        assert fire.ledger.delete_vpn("nantes", "stopped") is not None
        make(fire, "stopped-too", "10.41.1.0/24", wait=0)
        fire.rig.go_on("lyon")
        until("lyon has heard of it", lambda: agreed(fire, "nantes", "stopped-too"))


def full(log: Path) -> bool:
    """Whether the log ends in the middle of a line: there was no room for the rest."""
    return not log.read_bytes().endswith(b"\n")


def asked_in_vain(fire: Fire, site: str) -> bool:
    """Ask for what is not there: each time is a line of the log."""
    return bool(fire[site].call("GET", "/v1/networks/none").status_code == 404)


def without_room(site: Site) -> bool:
    """Whether the agent runs, and is not ready since it cannot keep anything."""
    try:
        told = site.client.get("/readyz", timeout=2.0)
    except httpx.TransportError:
        return False
    return bool(told.status_code == 503 and told.json()["code"] == "storage")


def test_full_disk(fire: Fire) -> None:
    """nantes cannot keep anything, not even a line of its log: it says so, promises nothing, reads on, forwards on,
    starts again if it is killed, and goes on when there is room."""
    with fire.story():
        fire.rig.fill_disk("nantes")
        until("nantes' log is full", lambda: asked_in_vain(fire, "nantes") and full(fire["nantes"].directory / "log"))
        for _ in range(20):
            assert fire["nantes"].vpn("stretch")["phase"] == "ready"
        told = fire.ledger.ask("nantes", "POST", "/v1/networks", {"name": "full", "prefix": "10.42.0.0/24"})
        assert told is not None
        assert (told.status_code, told.json()["code"]) == (503, "storage")
        assert not fire.ledger.create_host("nantes", "full", "blue")
        assert fire.ledger.create_vpn("lyon", "full", "l3", {"lyon": "db", "nantes": "db"}, wait=2)
        assert {m["site"]: m["answer"] for m in fire["lyon"].vpn("full")["members"]}["nantes"] == "waiting"
        count = rounds(fire.rig, "nantes")
        until("nantes goes on looking", lambda: rounds(fire.rig, "nantes") >= count + 2)
        assert fire.rig.alive("nantes")
        fire["nantes"].kill()
        fire["nantes"].start()
        until("nantes runs, and says what it lacks", lambda: without_room(fire["nantes"]))
        assert not fire.ledger.create_host("nantes", "full-again", "blue")
