"""What holds when the fire is out and the sites have talked: each check says what is wrong, and by which invariant.

Asked are the API, the kernels and packets."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.fire.checker import Cloud, Told, always, everywhere, look, writes
from tests.fire.ledger import PROJECT, Ledger, Vpn
from tests.fire.rig import HEARTBEAT, FireRig
from tests.net.topologies.rig import until

PATIENCE = 120.0
"""Seconds within which all of it holds: calls that hang must be missed, and pauses between calls have grown."""
QUIET_ROUNDS = 3
WINDOWS = 4
"""Of so many rounds each, in one of which nothing is written: what was changed just before may still be told."""
VOLATILE = {"health", "rtt_ms", "loss", "probed_at", "ports_in_use"}
MOVING = {"pairs", "phase", "reason", "hint", "members"}


def same(told: Any) -> Any:
    """What of a Vpn all sites must tell alike."""
    members = [{k: v for k, v in m.items() if k not in VOLATILE} for m in told["members"]]
    return {**{k: v for k, v in told.items() if k not in MOVING}, "members": members}


def wrong(rig: FireRig, ledger: Ledger) -> list[str]:
    """Everything that is not as it was promised, now."""
    clouds = {site.name: look(rig, site.name) for site in rig}
    lists = {site.name: {v["id"]: v for v in site.items("/v1/vpns", project=PROJECT)} for site in rig}
    return [
        *ledger.faults,
        *always(clouds.values(), ledger.projects),
        *(w for vpn in ledger.vpns.values() for w in _promised(vpn, lists, clouds)),
        *_nothing_else(ledger, lists, clouds),
        *_hosts(ledger, clouds),
        *(
            w
            for site in rig
            for w in _networks(ledger, site.items("/v1/networks", project=PROJECT), clouds[site.name])
        ),
        *_packets(rig, ledger, lists),
    ]


def _promised(vpn: Vpn, lists: dict[str, dict[str, Any]], clouds: dict[str, Cloud]) -> Iterable[str]:
    """I3: what was acknowledged is there. I5 and I8: see `_member`."""
    told = lists[vpn.home].get(vpn.id)
    if told is None:
        yield f"I3: {vpn.name} ({vpn.id}) was promised and is not at its home {vpn.home}"
        return
    if told["phase"] == "refused":
        yield from (f"I4: {vpn.name} was refused and stands at {c.site}" for c in clouds.values() if vpn.id in c.vpns)
        return
    if told["phase"] == "deleting" and vpn.ending:
        if not any(m["ports_in_use"] for m in told["members"]):
            yield f"I5: {vpn.name} does not end, and nobody holds it: {told['reason']}"
        return
    if (told["name"], told["kind"], told["vni"]) != (vpn.name, vpn.kind, vpn.vni):
        yield f"I3: {vpn.name} was promised otherwise: {told}"
    members = {m["site"]: m for m in told["members"]}
    if {s for s, m in members.items() if not m["leaving"]} != vpn.members:
        yield f"I3: {vpn.name} was promised to {sorted(vpn.members)} and has {sorted(members)}"
    for member in told["members"]:
        yield from _member(vpn, told, member, lists[member["site"]].get(vpn.id), clouds[member["site"]])
    if told["phase"] != "ready" and not any(m["answer"] == "refused" and m["reason"] for m in members.values()):
        yield f"I5: {vpn.name} is {told['phase']}: {told['reason']}"


def _member(vpn: Vpn, told: Any, member: Any, theirs: Any, cloud: Cloud) -> Iterable[str]:
    """I5: the member realises the Vpn, or it is said why not. I8: it tells of it as the home does."""
    if theirs is None or same(theirs) != same(told):
        yield f"I8: {cloud.site} tells of {vpn.name} {theirs and same(theirs)}, and {vpn.home} {same(told)}"
    seen = cloud.segments.get(vpn.vni)
    if not member["reason"] and (not member["realised"] or seen is None or seen.vpn != vpn.id):
        yield f"I5: {cloud.site} does not realise {vpn.name} ({seen}, {member}) and does not say why"


def _nothing_else(ledger: Ledger, lists: dict[str, dict[str, Any]], clouds: dict[str, Cloud]) -> Iterable[str]:
    """I4 and I6: nothing of what was refused or has ended is anywhere."""
    known = {vpn.id for vpn in ledger.vpns.values()}
    for site, cloud in clouds.items():
        for vni, seen in cloud.segments.items():
            if seen.vpn not in known:
                word = "I6: ended" if seen.vpn in ledger.ended else "I4: unknown"
                yield f"{word} Vpn {seen.vpn} has a segment {vni} at {site}"
    for site, told in lists.items():
        for id, vpn in told.items():
            if id not in known and vpn["phase"] != "refused":
                yield f"{'I6: ended' if id in ledger.ended else 'I4: unknown'} Vpn {vpn['name']} is told of at {site}"


def _hosts(ledger: Ledger, clouds: dict[str, Cloud]) -> Iterable[str]:
    """I3 and I4 for hosts: those that were promised, with their addresses, and no others."""
    for (site, name), host in ledger.hosts.items():
        seen = clouds[site].hosts.get(name)
        if seen is None or not host.addresses <= seen.addresses or not seen.bridge:
            yield f"I3: host {name} at {site} was promised with {sorted(host.addresses)}: {seen}"
    for site, cloud in clouds.items():
        for name in cloud.hosts:
            if (site, name) not in ledger.hosts:
                yield f"I4: host {name} at {site} was never promised, or was deleted"


def _networks(ledger: Ledger, told: list[Any], cloud: Cloud) -> Iterable[str]:
    """I3 and I4 for networks: those that were promised, those that Vpns made, and as many bridges."""
    promised = {name: prefix for (site, name), prefix in ledger.networks.items() if site == cloud.site}
    names = {n["name"]: ",".join(n["prefixes"]) for n in told}
    yield from (f"I3: network {n} at {cloud.site} was promised" for n, p in promised.items() if names.get(n) != p)
    made = {vpn.network for vpn in ledger.vpns.values() if cloud.site in vpn.members or vpn.ending}
    yield from (f"I4: network {n} at {cloud.site} was not promised" for n in names.keys() - promised.keys() - made)
    if cloud.bridges != len(told):
        yield f"I4: {cloud.bridges} bridges stand at {cloud.site} for networks {sorted(names)}"


def _packets(rig: FireRig, ledger: Ledger, lists: dict[str, dict[str, Any]]) -> Iterable[str]:
    """I5 by packets: between all hosts of a Vpn that is ready."""
    for vpn in ledger.vpns.values():
        told = lists[vpn.home].get(vpn.id)
        if told is None or told["phase"] != "ready":
            continue
        networks = {m["site"]: m["network"] for m in told["members"]}
        names = {h.name: h.site for h in ledger.hosts.values() if networks.get(h.site) == h.network}
        if unanswered := rig.see.all_answer(rig.targets(names, 4)):
            yield f"I5: no answer in {vpn.name} between {sorted(unanswered)}"


def out(rig: FireRig, ledger: Ledger, seconds: float = PATIENCE) -> float:
    """Put the fire out; until nothing is wrong any more. The seconds that took; AssertionError: what stays wrong."""
    rig.put_out()
    found: list[str] = []
    begun = time.monotonic()

    def well() -> bool:
        ledger.settle()
        now = wrong(rig, ledger)
        if now and now != found:
            print(f"    {time.monotonic() - begun:6.1f} not yet: {len(now)}, {now[0][:300]}", flush=True)
        found[:] = now
        if not found:
            ledger.close()
        return not found

    try:
        return until("all is as it was promised", well, seconds)
    except AssertionError as error:
        logs = "\n".join(f"--- {site.name}\n{site.log()}" for site in rig)
        raise AssertionError(f"{error}\n" + "\n".join(found) + f"\n{logs}") from None
    finally:
        print(f"    settled after {time.monotonic() - begun:.1f} s", flush=True)


def rounds(rig: FireRig, site: str) -> int:
    """How many rounds the agent has run."""
    text = rig[site].call("GET", "/metrics").text
    counts = [line.split()[1] for line in text.splitlines() if line.startswith("intertie_rounds_total{")]
    return int(sum(float(count) for count in counts))


def quiet(rig: FireRig) -> None:
    """I14: rounds without a change write nothing to any kernel. I18: nor do quiet sites call one another often.

    One thing a kernel does by itself: it tells of each port of a bridge, a forward delay (15 s) after that came up.
    """
    delayed: set[tuple[str, str]] = set()
    for _ in range(WINDOWS):
        written = _window(rig)
        ports = Counter((told.place, told.device) for told in written if told.port)
        own = {port for port, times in ports.items() if times == 1} - delayed
        delayed |= ports.keys()
        if not (rest := [told for told in written if not told.port or (told.place, told.device) not in own]):
            return
        print(f"    not quiet yet: {rest}", flush=True)
    raise AssertionError(f"I14: rounds without a change write to kernels: {rest}")


def _window(rig: FireRig) -> list[Told]:
    """What was written while every agent ran some rounds."""
    before = {site.name: rounds(rig, site.name) for site in rig}
    places = {f"{s.name} {n}": place for s in rig for n, place in everywhere(rig, s.name).items()}
    calls, begun = rig.net.traffic(), time.monotonic()
    with writes(places) as written:
        for site, count in before.items():
            until(f"rounds at {site}", lambda s=site, c=count: rounds(rig, s) >= c + QUIET_ROUNDS)  # type: ignore[misc]
    took = time.monotonic() - begun
    for way, traffic in rig.net.traffic().items():
        turns = traffic.turns - calls[way].turns if way in calls else traffic.turns
        assert turns <= 4 + took * 4 / HEARTBEAT, f"I18: {turns} calls from {way[0]} to {way[1]} in {took:.1f} s"
    return written.found
