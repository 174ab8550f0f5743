"""/metrics: names and units by Prometheus' conventions, figures that move with what happens, and the dashboard and
alert rules of docs/, which may use only what is there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from intertie.agent.figures import SECONDS, Histogram
from intertie.api import metrics
from intertie.testing.federation import World
from intertie.testing.virtual_time import run
from tests.unit.api_lab import Api, federation, virtually, wish

DOCS = Path(__file__).resolve().parents[2] / "docs"
ALERTS = DOCS / "prometheus" / "alerts.yaml"
DASHBOARD = DOCS / "grafana" / "intertie.json"
UNITS = ("seconds", "bytes", "ratio", "info")
UNITLESS = {"intertie_peers", "intertie_peer_up", "intertie_vpns", "intertie_vpn_pairs", "intertie_vpn_pair_health"}
UNITLESS |= {"intertie_records", "intertie_plan_changes", "intertie_plan_orphans", "intertie_plan_kept"}
UNITLESS |= {"intertie_failed_items", "intertie_store_writable", "intertie_certificate_flawed"}
"""Gauges that count things or are 0 or 1; every other one ends with its unit."""
LABELS = {"site", "version", "python", "state", "peer", "outcome", "phase", "health", "vpn", "kind", "home", "op"}
LABELS |= {"driver", "certificate", "operation", "status", "le"}
PROMTOOL = shutil.which("promtool")

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def families(api: Api) -> list[Metric]:
    text = (await api.get("/metrics", "")).text
    return [f for f in text_string_to_metric_families(text) if f.name.startswith("intertie_")]


def samples(found: Iterable[Metric]) -> Found:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in found for s in f.samples}


def total(found: Found, name: str, **labels: str) -> float:
    """The sum of all series of that name with these labels."""
    return sum(v for (n, have), v in found.items() if n == name and labels.items() <= dict(have).items())


async def busy() -> tuple[World, Api]:
    """nantes, with a Vpn to lyon that is ready, and everything done that is counted."""
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    await world.net("nantes", "blue", "10.0.0.0/24")
    await api.post("/v1/vpns", wish("blue", "l2", "nantes:blue", "lyon"), Prefer="wait=10")
    await world.until(lambda: world.phase("nantes", "blue") == "ready")
    await api.post("/v1/vpns/blue/verify")
    return world, api


@virtually
async def test_names_and_units_follow_the_conventions() -> None:
    """prometheus.io/docs/practices/naming, and what `promtool check metrics` looks for."""
    world, api = await busy()
    found = await families(api)
    assert len(found) > 35
    for family in found:
        assert re.fullmatch(r"intertie_[a-z]+(_[a-z]+)*", family.name), family.name
        assert family.documentation, family.name
        assert family.type in ("gauge", "counter", "histogram"), family.name
        if family.type == "counter":
            assert all(s.name.endswith("_total") for s in family.samples if not s.name.endswith("_created"))
            assert not family.name.endswith(("seconds", "ratio")), family.name
        elif family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
        else:
            assert family.name.endswith(UNITS) or family.name in UNITLESS, family.name
            assert not family.name.endswith(("total", "count", "sum", "bucket")), family.name
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, sample
    assert not re.search("millisecond|_ms|minutes|kilo|percent", " ".join(f.name for f in found))
    await world.close()


@virtually
async def test_no_series_names_a_project_or_what_users_call_things() -> None:
    """The page is open to all."""
    world, api = await busy()
    values = {value for (_, labels), _ in samples(await families(api)).items() for _, value in labels}
    assert "lyon" in values
    assert not values & {"demo", "blue", "10.0.0.0/24"}
    await world.close()


@virtually
async def test_figures_move_with_what_happens() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    await world.net("nantes", "blue", "10.0.0.0/24")
    before = samples(await families(api))
    await api.post("/v1/vpns", wish("blue", "l2", "nantes:blue", "lyon"), Prefer="wait=10")
    await world.until(lambda: world.phase("nantes", "blue") == "ready")
    await api.post("/v1/vpns/blue/verify")
    await api.get("/v1/vpns/none")
    after = samples(await families(api))

    def grew(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grew("intertie_peer_calls_total", peer="lyon", outcome="ok") > 0
    assert grew("intertie_peer_call_duration_seconds_count", peer="lyon") > 0
    assert 0 < grew("intertie_peer_call_duration_seconds_sum", peer="lyon") < 60
    assert grew("intertie_peer_sent_bytes_total", peer="lyon") > 1000
    assert grew("intertie_peer_received_bytes_total", peer="lyon") > 500
    assert grew("intertie_peer_served_calls_total", peer="lyon", outcome="ok") > 0
    assert grew("intertie_rounds_total", outcome="ok") > 0
    assert grew("intertie_round_duration_seconds_count") == grew("intertie_rounds_total")
    assert grew("intertie_driver_calls_total", driver="transport", op="ensure", outcome="ok") >= 1
    assert grew("intertie_driver_calls_total", driver="cloud", op="observe", outcome="ok") > 0
    assert grew("intertie_store_commits_total", outcome="ok") >= 2
    assert grew("intertie_events_total", kind="vpn") >= 1
    assert grew("intertie_events_total", kind="change") >= 1
    assert grew("intertie_api_requests_total", operation="create_vpn", status="201") == 1
    assert grew("intertie_api_requests_total", operation="show_vpn", status="404") == 1
    assert grew("intertie_api_request_duration_seconds_count", operation="create_vpn") == 1
    assert grew("intertie_records", kind="vpn", home="nantes") == 1
    assert grew("intertie_records", kind="answer", home="lyon") == 1
    assert grew("intertie_vpn_pairs", health="ready") == 1
    assert total(after, "intertie_vpn_pair_health", peer="lyon", health="ready") == 1
    assert total(after, "intertie_vpn_pair_health", peer="lyon") == 1
    for name in ("intertie_vpn_pair_rtt_seconds", "intertie_link_rtt_seconds", "intertie_peer_rtt_seconds"):
        assert 0.03 < total(after, name, peer="lyon") < 0.06, name
    assert total(after, "intertie_link_loss_ratio", peer="lyon") == 0
    assert total(after, "intertie_link_mtu_bytes", peer="lyon") == 1450
    assert total(after, "intertie_peer_up", peer="lyon") == 1
    assert total(after, "intertie_peer_silence_seconds", peer="lyon") < 30
    assert total(after, "intertie_round_age_seconds") < 10
    assert total(after, "intertie_store_writable") == 1
    await world.close()


@virtually
async def test_what_goes_wrong_is_counted_apart() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    world.skews["lyon"] += timedelta(hours=2)
    await asyncio.sleep(30)
    skewed = samples(await families(api))
    assert 7199 < total(skewed, "intertie_peer_clock_skew_seconds", peer="lyon") < 7201
    world.isolate("lyon")
    world.disks["nantes"].failures = 1
    assert (await api.post("/v1/networks", {"name": "n", "prefix": "10.0.0.0/24"})).status_code == 503
    now = samples(await families(api))
    assert total(now, "intertie_store_writable") == 0
    assert total(now, "intertie_store_commits_total", outcome="unavailable") == 1
    assert total(now, "intertie_api_requests_total", operation="create_network", status="503") == 1
    world.days["nantes"].failing = 3
    await world.net("nantes", "blue", "10.1.0.0/24")
    await asyncio.sleep(60)
    after = samples(await families(api))
    assert total(after, "intertie_driver_calls_total", outcome="unavailable") == 3
    assert total(after, "intertie_peer_calls_total", peer="lyon", outcome="unavailable") > 0
    assert total(after, "intertie_peer_up", peer="lyon") == 0
    assert total(after, "intertie_peer_silence_seconds", peer="lyon") > 30
    assert total(after, "intertie_store_writable") == 1
    await world.close()


def test_a_histogram_holds_what_was_put_in() -> None:
    one = Histogram()
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        one.add(seconds)
    family = metrics._histogram("x_seconds", "words", (), {(): one})
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name == "x_seconds_bucket"}
    assert (buckets["0.001"], buckets["0.5"], buckets[str(SECONDS[-1])], buckets["+Inf"]) == (2, 3, 3, 4)
    assert one.sum == pytest.approx(99.3015)


@virtually
async def test_pairs_are_listed_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    world, api = await busy()
    await world.net("nantes", "red", "10.7.0.0/24")
    await world.vpn("nantes", "red", "l2", "nantes:red", "lyon")
    monkeypatch.setattr(metrics, "MOST_PAIRS", 1)
    found = samples(await families(api))
    assert total(found, "intertie_vpn_pair_health") == 1
    assert total(found, "intertie_vpn_pairs") == 2
    await world.close()


# ── Dashboard and rules ────────────────────────────────────────────────────────────────────────────────────


async def exposed() -> set[str]:
    """Names that a query may use."""
    world, api = await busy()
    text = (await api.get("/metrics", "")).text
    found = list(text_string_to_metric_families(text))
    await world.close()
    names = {s.name for f in found for s in f.samples} | {f.name for f in found if f.type != "counter"}
    silent = {"intertie_peer_clock_skew_seconds", "intertie_records_rejected_total"}
    certificates = {"intertie_certificate_expiry_timestamp_seconds", "intertie_certificate_flawed"}
    sizes = {"intertie_store_size_bytes", "intertie_store_free_bytes"}
    # Those that need what this federation has not: bad peers, and the surroundings of a real agent.
    described = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert certificates <= described
    return names | silent | certificates | sizes


def used(query: str) -> set[str]:
    return set(re.findall(r"\b(?:intertie|process|python|up)_[a-z_]+", query))


@virtually
async def test_every_query_of_the_dashboard_and_of_the_rules_uses_what_is_there() -> None:
    known = await exposed()
    board = json.loads(DASHBOARD.read_text())
    queries = [t["expr"] for p in board["panels"] for t in p.get("targets", ())]
    rules = [r for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]]
    assert len(queries) > 30
    for query in [*queries, *(r["expr"] for r in rules)]:
        assert used(query) <= known, query
        assert used(query) or query.startswith("up{"), query
        assert query.count("(") == query.count(")")
        assert query.count("{") == query.count("}")
    # What nobody looks at need not be counted.
    shown = set().union(*(used(q) for q in queries))
    own = {n for n in known if n.startswith("intertie_") and not n.endswith(("_created", "_sum", "_count"))}
    families = {n.removesuffix("_bucket") for n in own}
    assert {n for n in families if not any(s.startswith(n) for s in shown)} <= {
        "intertie_peer_up",
        "intertie_certificate_flawed",
    }


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert (board["uid"], board["schemaVersion"] >= 36, board["title"]) == ("intertie", True, "Intertie")
    assert {v["name"] for v in board["templating"]["list"]} == {"datasource", "instance"}
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["type"] in ("row", "stat", "timeseries", "table"), panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert "$instance" in target["expr"], panel["title"]
            assert {"refId", "expr", "legendFormat"} <= target.keys()


def test_the_rules_say_what_to_do() -> None:
    rules = [r for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]]
    assert len({r["alert"] for r in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}


async def exposition() -> str:
    world, api = await busy()
    text = (await api.get("/metrics", "")).text
    await world.close()
    return "\n".join(line for line in text.splitlines() if "intertie_" in line) + "\n"


@pytest.mark.skipif(PROMTOOL is None, reason="Prometheus' own promtool is not here; the rules above are ours")
def test_promtool_has_nothing_to_say() -> None:
    for arguments, given in ((("check", "metrics"), run(exposition())), (("check", "rules", str(ALERTS)), "")):
        done = subprocess.run(
            [str(PROMTOOL), *arguments], input=given, capture_output=True, text=True, check=False, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
