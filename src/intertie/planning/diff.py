"""Items wanted and items seen → a Plan: what would be done, in order, in words. Printed it is a dry run; carried out
it is the round.

Ensure goes bottom-up (network, segment, host), remove top-down; but segments go before others come, and before hosts
come: a network that is out of a Vpn must be let go before it joins the next, or gets hosts with any address it likes.
Nothing is removed without evidence, and no network on which tenants still have ports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from intertie.model.bodies import Range, VpnKind
from intertie.model.items import Host, Item, ItemKind, Key, Network, Segment, key

ORDER = (ItemKind.NETWORK, ItemKind.SEGMENT, ItemKind.HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step. `op` is +, ~ or -; `item` is what is wanted (for -: what is there)."""

    op: str
    item: Item
    have: Item | None = None

    @property
    def text(self) -> str:
        """As an operator reads it: `+ network blue 10.0.0.0/24 mtu 1450`."""
        why = replaced(self.have, self.item) if self.op == "~" else ""
        more = f"; replaced, which loses packets: {why}" if why else ""
        return f"{self.op} {describe(self.item, self.have if self.op == '~' else None)}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    changes: tuple[Change, ...] = ()
    orphans: tuple[Item, ...] = ()
    """Ours by their marks, but no record explains them: shown and kept."""
    kept: tuple[Item, ...] = ()
    """To be removed once no tenant's port is on them."""

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        lines = [c.text for c in self.changes]
        lines += [f"? {describe(i)}: no record explains it; kept" for i in self.orphans]
        lines += [f"! {describe(i)}: ports are in use; kept" for i in self.kept]
        return "\n".join(lines)


def diff(
    wanted: Collection[Item],
    seen: Collection[Item],
    may_go: Callable[[Key], bool],
    ports: Callable[[str], int] = lambda network: 0,
) -> Plan:
    """The plan that leads from `seen` to `wanted`. `ports(network id)` counts tenants' ports on a network."""
    want = {key(i): i for i in wanted}
    have = {key(i): i for i in seen}
    ensure = [
        Change(op="~" if k in have else "+", item=want[k], have=have.get(k))
        for k in sorted(want, key=_place)
        if want[k] != have.get(k)
    ]
    remove: list[Change] = []
    orphans: list[Item] = []
    kept: list[Item] = []
    going_hosts = [i for k, i in have.items() if isinstance(i, Host) and k not in want and may_go(k)]
    for k in sorted(have.keys() - want.keys(), key=_place, reverse=True):
        item = have[k]
        if not may_go(k):
            orphans.append(item)
        elif (
            isinstance(item, Network) and item.own and ports(item.id) > sum(h.network == item.id for h in going_hosts)
        ):
            kept.append(item)
        else:
            remove.append(Change(op="-", item=item))
    return Plan(changes=tuple(sorted([*ensure, *remove], key=_turn)), orphans=tuple(orphans), kept=tuple(kept))


def _turn(change: Change) -> int:
    """Which changes come first. Of one turn, the order stays as it is."""
    if change.op != "-":
        return 0 if isinstance(change.item, Network) else 2
    return 1 if isinstance(change.item, Segment) else 3


def _place(k: Key) -> tuple[int, str]:
    return (ORDER.index(k[0]), k[1])


# ── Words ──────────────────────────────────────────────────────────────────────────────────────────────────


def describe(item: Item, have: Item | None = None) -> str:
    """One line; with `have`, only what differs follows the name."""
    now = _facts(item)
    then = _facts(have) if have is not None else {}
    parts = [f"{k} {v}" if not then else f"{k} {then.get(k, '-')}→{v}" for k, v in now.items() if then.get(k) != v]
    parts += [f"{k} {v}→none" for k, v in then.items() if k not in now]
    return " ".join([_title(item), *parts])


def replaced(have: Item | None, want: Item) -> str:
    """Why the one is made anew and not edited into the other: what the device of a segment is made with."""
    if not isinstance(have, Segment) or not isinstance(want, Segment):
        return ""
    facts = (
        ("VNI", have.vni, want.vni),
        ("local address", have.local.address, want.local.address),
        ("UDP port", have.local.port, want.local.port),
    )
    return ", ".join(f"{what} {then} → {now}" for what, then, now in facts if then != now)


def _title(item: Item) -> str:
    match item:
        case Network():
            return f"network {item.name}"
        case Host():
            return f"host {item.name}"
        case Segment():
            return f"segment {item.vpn} {item.kind.value}"


def _facts(item: Item) -> dict[str, str]:
    found = _own_facts(item)
    if item.flaw:
        found["flaw"] = item.flaw
    return found


def _own_facts(item: Item) -> dict[str, str]:
    match item:
        case Network():
            return {
                "prefix": _list(item.prefixes),
                "mtu": str(item.mtu),
                "bridge": item.bridge + ("" if item.own else " (existing)"),
            }
        case Host():
            return {
                "network": item.network,
                "address": _list(item.interfaces),
                "gateway": _list(item.gateways) or "none",
                "mtu": str(item.mtu),
            }
        case Segment():
            return _segment_facts(item)


def _segment_facts(item: Segment) -> dict[str, str]:
    facts = {"vni": str(item.vni), "bridge": item.bridge, "mtu": str(item.mtu)}
    facts["remotes"] = _list(e.address for r in item.remotes for e in r.endpoints) or "none"
    if item.kind is VpnKind.L2:
        facts["range"] = ",".join(range_text(r) for r in item.ranges)
    else:
        facts["routes"] = _list(p for r in item.remotes for p in r.prefixes) or "none"
    if item.blocked:
        facts["blocked"] = "loop"
    return facts


def range_text(r: Range) -> str:
    """`10.0.0.86–10.0.0.169`."""
    return str(r.first) if r.first == r.last else f"{r.first}–{r.last}"


def _list(values: Iterable[object]) -> str:
    return ",".join(str(v) for v in values)
