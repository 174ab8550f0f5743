"""Figures for Prometheus, read from the agent when it is asked: nothing is counted twice."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from intertie.agent.access import Caller, Role
from intertie.api.services import Services
from intertie.model.records import Kind
from intertie.planning.status import Phase

_EVERYBODY = Caller(project="", role=Role.ADMIN)
_STATES = ("pending", "up", "silent", "quarantined", "forgotten")


class AgentCollector(Collector):
    """One agent's own figures."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        services, agent = self._services, self._services.agent
        peers = services.enrolment.peers()
        phases = (v.phase for v in services.vpns.all(_EVERYBODY))
        kinds = {kind: sum(1 for _ in agent.table.of(kind)) for kind in Kind}
        yield _count("intertie_peers", "Peers by state", "state", _STATES, (p.state for p in peers))
        yield _count("intertie_vpns", "Vpns by phase", "phase", tuple(Phase), phases)
        records = GaugeMetricFamily("intertie_records", "Standing records, own and peers', by kind", labels=["kind"])
        for kind, number in kinds.items():
            records.add_metric([kind.value], number)
        yield records
        rtt = GaugeMetricFamily("intertie_peer_rtt_seconds", "Time of the last call to a peer", labels=["peer"])
        for peer in peers:
            if peer.rtt_ms is not None:
                rtt.add_metric([peer.name], peer.rtt_ms / 1000)
        yield rtt
        yield CounterMetricFamily("intertie_rounds", "Rounds run to their end", value=services.rounds.rounds)
        yield CounterMetricFamily(
            "intertie_driver_calls", "Changes that rounds asked of drivers", value=services.rounds.driver_calls
        )
        info = GaugeMetricFamily("intertie_build_info", "Always 1", labels=["site", "version", "python"])
        info.add_metric([agent.site, agent.settings.version, platform.python_version()], 1)
        yield info


def _count(name: str, words: str, label: str, all: Iterable[str], seen: Iterable[str]) -> Metric:
    """How many of each; those of which there are none say 0, so that alarms find them."""
    found = Counter(str(s) for s in seen)
    family = GaugeMetricFamily(name, words, labels=[label])
    for value in all:
        family.add_metric([str(value)], found[str(value)])
    return family


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
