"""One fault of the path between agents each: what users are told meanwhile is kept afterwards, and nobody's packets
notice."""

from __future__ import annotations

from intertie.testing.fault_proxy import Fault
from tests.fire.conftest import Fire


def test_delay(fire: Fire) -> None:
    """Every word comes a second late: a create takes longer and is the same."""
    with fire.story():
        for one, other in (("nantes", "lyon"), ("nantes", "rennes"), ("lyon", "rennes")):
            fire.net.both(one, other, Fault(delay=1.0))
        assert fire.ledger.create_network("nantes", "delay", "10.30.1.0/24")
        assert fire.ledger.create_vpn("nantes", "delay", "l2", {"nantes": "delay", "lyon": "", "rennes": ""}, wait=20)
        told = fire["nantes"].vpn("delay")
        assert {m["answer"] for m in told["members"]} == {"accepted"}
