"""`introductions = "ask"`, the default: who is introduced waits for an operator's word, at each site, fire or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from intertie.testing.fault_proxy import Fault
from tests.fire.conftest import Fire
from tests.fire.ledger import Ledger
from tests.fire.rig import FireRig
from tests.fire.settled import out
from tests.fire.test_paths import agreed
from tests.net.topologies.rig import until
from tests.net.topologies.topology import Topology

SITES = ("nantes", "lyon", "rennes")


@pytest.fixture
def fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    """Three sites that do not know one another yet."""
    rig = FireRig(Topology(sites=SITES), tmp_path_factory.mktemp("ask"), introductions="ask")
    try:
        rig.raise_sites()
        yield Fire(rig, Ledger(rig))
    finally:
        rig.close()


def peer(fire: Fire, site: str, name: str) -> Any:
    return next((p for p in fire[site].items("/v1/peers") if p["name"] == name), None)


def up(fire: Fire, one: str, other: str) -> bool:
    return all((peer(fire, a, b) or {"state": ""})["state"] == "up" for a, b in ((one, other), (other, one)))


def let_work(fire: Fire, site: str, peer: str) -> None:
    fire[site].post(f"/v1/peers/{peer}/mappings", {"theirs": "demo", "ours": "demo", "may": ["l2"]})


def introduced(fire: Fire, site: str, name: str) -> bool:
    found = peer(fire, site, name)
    return found is not None and (found["state"], found["introduced_by"]) == ("pending", "nantes")


def test_who_is_introduced_waits_for_an_operators_word(fire: Fire) -> None:
    nantes = fire["nantes"]
    for other in ("lyon", "rennes"):
        token = nantes.post("/v1/invitations", {"name": other, "expires_in": 600})["token"]
        fire[other].post("/v1/peers", {"token": token})
        until(f"nantes and {other} know each other", lambda o=other: up(fire, "nantes", o))  # type: ignore[misc]
    until("lyon hears of rennes", lambda: introduced(fire, "lyon", "rennes"))
    until("rennes hears of lyon", lambda: introduced(fire, "rennes", "lyon"))
    for one, other in (("nantes", "lyon"), ("nantes", "rennes"), ("lyon", "nantes"), ("rennes", "nantes")):
        let_work(fire, one, other)
    assert fire.ledger.create_network("nantes", "blue", "10.60.0.0/24")
    ends = {"nantes": "blue", "lyon": "", "rennes": ""}

    # Who has not pinned each other is named by no Vpn: it is refused whole, and nothing of it stays anywhere.
    assert not fire.ledger.create_vpn("nantes", "early", "l2", ends, wait=20)
    out(fire.rig, fire.ledger)

    # One of the two approves, across a link that loses everything one way; the other's word is still missing.
    fire.net.set("lyon", "rennes", Fault(cut=True))
    fire["lyon"].post("/v1/peers/rennes/approve")
    assert peer(fire, "lyon", "rennes")["state"] != "up"
    assert introduced(fire, "rennes", "lyon")
    assert not fire.ledger.create_vpn("nantes", "half", "l2", ends, wait=20)
    fire.net.lift()
    out(fire.rig, fire.ledger)
    assert not up(fire, "lyon", "rennes")

    fire["rennes"].post("/v1/peers/lyon/approve")
    until("lyon and rennes know each other", lambda: up(fire, "lyon", "rennes"))
    for one, other in (("lyon", "rennes"), ("rennes", "lyon")):
        let_work(fire, one, other)
    assert fire.ledger.create_vpn("nantes", "stretch", "l2", ends, wait=20)
    assert agreed(fire, "nantes", "stretch")
    out(fire.rig, fire.ledger)

    # An approval outlives its process.
    fire.rig.restart("rennes")
    until("they know each other again", lambda: up(fire, "lyon", "rennes"))
    out(fire.rig, fire.ledger)
