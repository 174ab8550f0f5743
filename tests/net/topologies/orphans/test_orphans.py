"""Rule 19 on a real kernel: bridges and hosts of a lost database are kept, collected, or taken up as they are."""

from __future__ import annotations

from typing import Any

from tests.net.topologies.rig import Rig, until
from tests.net.topologies.system import remains


def orphans(rig: Rig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rig["nantes"].get("/v1/plan")["orphans"]
    return found


def test_what_nobody_uses_is_collected_and_the_rest_is_taken_up_without_a_packet_lost(rig: Rig) -> None:
    nantes = rig["nantes"]
    before = remains(rig, "nantes")
    hosts = {h["name"]: (h["id"], h["addresses"]) for h in nantes.items("/v1/hosts")}
    with rig.see.stream(rig.ns("nantes", "a"), rig.address("nantes", "b")) as stream:
        nantes.kill()
        nantes.lose_database()
        nantes.start()
        nantes.wait_ready()
        until("peers have told what they held", lambda: not nantes.get("/v1/site")["recovering"])
        assert sorted(o["what"] for o in orphans(rig)) == ["host", "host", "network", "network"]
        shown = nantes.post("/v1/gc?plan=true")
        assert ["idle" in c["text"] for c in shown["changes"]] == [True]
        assert remains(rig, "nantes") == before
        done = nantes.post("/v1/gc")
        assert done["changes"] == shown["changes"]
        left = remains(rig, "nantes")
        assert len(left.devices) == len(before.devices) - 1
        assert {h["what"] for h in done["kept"]} == {"host", "network"}
        wrong = nantes.call("POST", "/v1/networks", {"name": "blue", "prefix": "10.99.0.0/24"})
        assert (wrong.status_code, wrong.json()["code"]) == (409, "name-taken")
        assert "takes it up again" in wrong.json()["hint"]
        nantes.post("/v1/networks", {"name": "blue", "prefixes": ["10.10.0.0/24", "fd10:10::/64"]})
        until("nothing is unexplained", lambda: not orphans(rig))
        assert {h["name"]: (h["id"], h["addresses"]) for h in nantes.items("/v1/hosts")} == hosts
        assert remains(rig, "nantes") == left
        stream.go_on()
    stream.check()
    for name in hosts:
        nantes.delete(f"/v1/hosts/{name}")
    until("the hosts are gone", lambda: nantes.call("DELETE", "/v1/networks/blue").is_success)
    until("nothing of it remains", lambda: not [d for d in remains(rig, "nantes").devices if d.startswith("ib")])
