"""Figures for Prometheus, read from the agent when it is asked: nothing is counted twice.

Names follow Prometheus' conventions: base units at the end, `_total` for what only rises, `_timestamp_seconds` for
moments. Labels are bounded: peers are those that are pinned, operations the API's, and of pairs (Vpn, peer) at most
MOST_PAIRS are listed. They name no project and no user's name: who may not see a Vpn learns that there is one.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from intertie.agent import upkeep
from intertie.agent.access import Caller, Role
from intertie.agent.figures import SECONDS, Histogram
from intertie.api.services import Services
from intertie.model.records import Kind
from intertie.model.views import Health, Phase
from intertie.planning.status import Sight

_EVERYBODY = Caller(project="", role=Role.ADMIN)
_STATES = ("pending", "up", "silent", "quarantined", "forgotten")
_HEARD = ("up", "quarantined")
MOST_PAIRS = 1000
STRANGER = "(joining)"
"""Who calls and is no peer yet."""
PLAN = {"+": "ensure", "~": "change", "-": "remove"}

Labels = tuple[str, ...]
L = TypeVar("L", bound=Labels)


class AgentCollector(Collector):
    """One agent's own figures."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        agent = self._services.agent
        yield _gauge(
            "intertie_build_info",
            "Always 1",
            ("site", "version", "python"),
            {(agent.site, agent.settings.version, platform.python_version()): 1},
        )
        yield from self._peers()
        yield from self._calls()
        yield from self._vpns()
        yield from self._links()
        yield from self._records()
        yield from self._rounds()
        yield from self._store()
        yield from self._certificates()
        figures = agent.figures
        yield _counter("intertie_events", "Events told, by kind", ("kind",), _single(figures.events))
        yield _counter("intertie_api_requests", "Requests to the API", ("operation", "status"), figures.requests)
        yield _histogram(
            "intertie_api_request_duration_seconds",
            "Time to answer a request, waits that it asked for included; streams are left out",
            ("operation",),
            figures.request_seconds,
        )

    def _peers(self) -> Iterator[Metric]:
        peers = self._services.enrolment.peers()
        agent, now = self._services.agent, asyncio.get_running_loop().time()
        yield _count("intertie_peers", "Peers by state", "state", _STATES, (p.state for p in peers))
        up = {(p.name,): float(p.state in _HEARD) for p in peers if p.name in agent.pins()}
        yield _gauge("intertie_peer_up", "Whether a peer was heard lately", ("peer",), up)
        quiet = {(n,): now - agent.peer(n).heard_at for (n,) in up if agent.peer(n).last_seen is not None}
        yield _gauge("intertie_peer_silence_seconds", "Time since a peer was last heard", ("peer",), quiet)
        rtt = {(p.name,): p.rtt_ms / 1000 for p in peers if p.rtt_ms is not None}
        yield _gauge("intertie_peer_rtt_seconds", "Time of the last call to a peer", ("peer",), rtt)
        skew = {(n,): s for n, s in agent.figures.skew.items() if (n,) in up}
        words = "How far a peer's clock is ahead of ours; a fraction of a second of it is the network's"
        yield _gauge("intertie_peer_clock_skew_seconds", words, ("peer",), skew)

    def _calls(self) -> Iterator[Metric]:
        figures, by_peer = self._services.agent.figures, ("peer", "outcome")
        yield _counter("intertie_peer_calls", "Calls to peers", by_peer, figures.calls)
        words = "Time of calls to peers; those that a peer was asked to hold are left out"
        yield _histogram("intertie_peer_call_duration_seconds", words, ("peer",), figures.call_seconds)
        served = {(peer or STRANGER, word): n for (peer, word), n in figures.served.items()}
        yield _counter("intertie_peer_served_calls", "Calls of peers that were answered", by_peer, served)
        seconds = {(peer or STRANGER,): h for (peer,), h in figures.served_seconds.items()}
        words = "Time to answer calls of peers, holding included"
        yield _histogram("intertie_peer_served_call_duration_seconds", words, ("peer",), seconds)
        for name, words, octets in (
            ("sent", "Octets of messages to peers, requests and replies", figures.sent),
            ("received", "Octets of messages from peers, requests and replies", figures.received),
        ):
            found = {(peer or STRANGER,): n for peer, n in octets.items()}
            yield _counter(f"intertie_peer_{name}_bytes", words, ("peer",), found)
        words = "Records of a peer that were not taken"
        yield _counter("intertie_records_rejected", words, ("peer",), _single(figures.rejected))

    def _vpns(self) -> Iterator[Metric]:
        services = self._services
        phases = (v.phase for v in services.vpns.all(_EVERYBODY))
        yield _count("intertie_vpns", "Vpns by phase", "phase", tuple(Phase), phases)
        pairs = services.health.measured()
        yield _count(
            "intertie_vpn_pairs",
            "Pairs of this site and another member of a Vpn, by health",
            "health",
            tuple(Health),
            (s.health for s in pairs.values()),
        )
        listed: dict[Labels, Sight] = {k: pairs[k] for k in sorted(pairs)[:MOST_PAIRS]}
        health = {(*k, h.value): float(s.health is h) for k, s in listed.items() for h in Health}
        words = f"Health of each pair, 1 for what it is; of {MOST_PAIRS} pairs at most"
        yield _gauge("intertie_vpn_pair_health", words, ("vpn", "peer", "health"), health)
        rtt = {k: s.rtt_ms / 1000 for k, s in listed.items() if s.rtt_ms is not None}
        yield _gauge("intertie_vpn_pair_rtt_seconds", "Of the last probe that crossed", ("vpn", "peer"), rtt)
        loss = {k: s.loss for k, s in listed.items() if s.loss is not None}
        yield _gauge("intertie_vpn_pair_loss_ratio", "Of the last probes", ("vpn", "peer"), loss)

    def _links(self) -> Iterator[Metric]:
        links = {(site,): link for site, link in self._services.health.links().items()}
        rtt = {k: link.rtt_ms / 1000 for k, link in links.items() if link.rtt_ms is not None}
        words = "Best of the segments to a site whose probes cross"
        yield _gauge("intertie_link_rtt_seconds", words, ("peer",), rtt)
        loss = {k: link.loss for k, link in links.items() if link.loss is not None}
        yield _gauge("intertie_link_loss_ratio", "Of the last probes of all segments to a site", ("peer",), loss)
        mtu = {k: float(link.mtu) for k, link in links.items() if link.mtu is not None}
        words = "Largest tenant packet that the last verification saw cross to a site"
        yield _gauge("intertie_link_mtu_bytes", words, ("peer",), mtu)

    def _records(self) -> Iterator[Metric]:
        agent = self._services.agent
        homes = {agent.site, *agent.pins()}
        found = Counter({(kind.value, agent.site): 0 for kind in Kind})
        found.update((k.value, r.home if r.home in homes else "other") for k in Kind for r in agent.table.of(k))
        yield _gauge("intertie_records", "Standing records by kind and home", ("kind", "home"), found)

    def _rounds(self) -> Iterator[Metric]:
        figures, rounds = self._services.agent.figures, self._services.rounds
        known: Mapping[Labels, int] = {("ok",): 0, ("failed",): 0} | dict(figures.rounds)
        yield _counter("intertie_rounds", "Rounds run", ("outcome",), known)
        words = "Time of a round"
        yield _histogram("intertie_round_duration_seconds", words, (), {(): figures.round_seconds})
        if figures.round_ended is not None:
            age = asyncio.get_running_loop().time() - figures.round_ended
            yield GaugeMetricFamily("intertie_round_age_seconds", "Time since a round last ended well", age)
        changes = {(word,): figures.plan[op] for op, word in PLAN.items()}
        yield _gauge("intertie_plan_changes", "What the last round had to do", ("op",), changes)
        words = "Things with our mark that no record explains"
        yield GaugeMetricFamily("intertie_plan_orphans", words, len(rounds.orphans))
        yield GaugeMetricFamily("intertie_plan_kept", "Things that go when no port is on them", figures.plan["!"])
        words = "Networks, hosts and segments that the last round could not make so"
        yield GaugeMetricFamily("intertie_failed_items", words, len(self._services.agent.failures))
        by_op = ("driver", "op")
        yield _counter("intertie_driver_calls", "Calls of drivers", (*by_op, "outcome"), figures.drivers)
        words = "Time of calls of drivers"
        yield _histogram("intertie_driver_call_duration_seconds", words, by_op, figures.driver_seconds)

    def _store(self) -> Iterator[Metric]:
        figures, facts = self._services.agent.figures, self._services.surroundings.store()
        yield _counter("intertie_store_commits", "Commits of the store", ("outcome",), figures.commits)
        words = "Time until a commit was durable"
        yield _histogram("intertie_store_commit_duration_seconds", words, (), {(): figures.commit_seconds})
        words = "Whether the last commit could be written"
        yield GaugeMetricFamily("intertie_store_writable", words, float(not figures.store_problem))
        for name, words, octets in (
            ("size", "Of the database, its log included", facts.used),
            ("free", "On the disk of the database", facts.free),
        ):
            if octets is not None:
                yield GaugeMetricFamily(f"intertie_store_{name}_bytes", words, octets)

    def _certificates(self) -> Iterator[Metric]:
        agent = self._services.agent
        found = upkeep.certificates(agent, self._services.surroundings)
        ends = {(c.kind, c.site): c.ends.timestamp() for c in found if c.ends is not None}
        labels = ("certificate", "site")
        yield _gauge("intertie_certificate_expiry_timestamp_seconds", "When it ends", labels, ends)
        flawed = {(c.kind, c.site): float(bool(upkeep.flaw(agent, c))) for c in found}
        words = "Whether it ends soon (certificate_days in site.toml), or was not renewed when it was time"
        yield _gauge("intertie_certificate_flawed", words, labels, flawed)


def _single(counts: Mapping[str, int]) -> dict[Labels, int]:
    return {(key,): n for key, n in counts.items()}


def _gauge(name: str, words: str, labels: Labels, values: Mapping[L, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, words: str, labels: Labels, values: Mapping[L, float]) -> Metric:
    """`name` without the `_total` that it gets."""
    family = CounterMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, words: str, labels: Labels, values: Mapping[L, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, words, labels=labels)
    bounds = [*map(str, SECONDS), "+Inf"]
    for key, each in values.items():
        family.add_metric(key, list(zip(bounds, accumulate(each.counts), strict=True)), each.sum)
    return family


def _count(name: str, words: str, label: str, all: Iterable[str], seen: Iterable[str]) -> Metric:
    """How many of each; those of which there are none say 0, so that alarms find them."""
    found = Counter(str(s) for s in seen)
    return _gauge(name, words, (label,), {(str(value),): found[str(value)] for value in all})


class _OnAsking(AgentCollector):
    """Registered before the store is open, when there is nothing to collect yet."""

    def describe(self) -> Iterator[Metric]:
        return iter(())


def registry(services: Services) -> CollectorRegistry:
    """A registry of this agent's own."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_OnAsking(services))
    ProcessCollector(registry=made)
    GCCollector(registry=made)
    return made
