"""Two sites cannot reach each other for a while: that is shown, and nothing else changes."""

from __future__ import annotations

from tests.net.topologies.rig import Rig, until
from tests.net.topologies.system import segments

WINDOW = 6.0
"""Seconds for which a probe that crossed makes a pair ready."""


def test_a_cut_link_is_shown_within_the_window_and_touches_nothing(rig: Rig) -> None:
    before = {site.name: set(segments(rig, site.name)) for site in rig}
    via_nantes = rig.see.stream(rig.ns("nantes", "a"), rig.address("rennes", "c"))
    via_lyon = rig.see.stream(rig.ns("lyon", "b"), rig.address("rennes", "c"))
    with via_nantes, via_lyon:
        rig.cut("nantes", "lyon")
        seen = {
            site: until(
                f"{site} sees that nothing crosses between nantes and lyon",
                lambda site=site: rig[site].health("stretch", "nantes", "lyon") != "ready",  # type: ignore[misc]
                WINDOW + 14,
            )
            for site in ("nantes", "lyon", "rennes")
        }
        assert seen["nantes"] <= WINDOW + 2
        for site in rig:
            assert site.vpn("stretch")["phase"] in ("waiting", "degraded")
            assert site.health("stretch", "nantes", "rennes") == "ready"
        assert rig.see.answers(rig.ns("nantes", "a"), rig.address("lyon", "b")) == 0
        found = rig["nantes"].post("/v1/vpns/stretch/verify")
        broken = {
            p["broken_at"] for p in found["pairs"] if {p["from"]["site"], p["to"]["site"]} == {"nantes", "lyon"}
        }
        assert "link" in broken, found
        rig.heal()
        rig.wait_settled(rig.topology.vpns[0])
    via_nantes.check()
    via_lyon.check()
    assert {site.name: set(segments(rig, site.name)) for site in rig} == before
    assert rig.see.answers(rig.ns("nantes", "a"), rig.address("lyon", "b"), timeout=5.0) == 3
