"""What the use cases of Vpns answer, beside the Vpn itself (`planning.status.VpnView`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from intertie.model.bodies import Word
from intertie.model.wire import ToldPair
from intertie.planning.foresight import Line
from intertie.planning.status import VpnView


@dataclass(frozen=True, slots=True, kw_only=True)
class EndView:
    """One end of a verified pair."""

    site: str
    host: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPair:
    """What a pair of hosts (or, where there are none, of segments) said when it was asked just now."""

    from_: EndView
    to: EndView
    rtt_ms: float | None
    mtu: int
    """Octets of the largest packet that was proved to cross in one piece; 0 if none."""
    ok: bool
    broken_at: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    ok: bool
    pairs: tuple[VerifiedPair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    site: str
    op: str
    what: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """What a change would do, at every member. `base_version` names the plan: with it as If-Match (`--base`) the
    change is refused if it would do something else by now."""

    base_version: str
    changes: tuple[PlanChange, ...]
    refusals: tuple[PlanChange, ...] = ()
    """What members would refuse, as far as this site knows."""
    notes: tuple[PlanChange, ...] = ()
    """What is worth knowing before: hosts that send larger packets than cross, what only a member can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that waits for the Vpn's home."""

    proposal: str
    waiting_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A Vpn after a change; `pending` if its home, another site, has not spoken yet."""

    vpn: VpnView
    pending: Pending | None = None


def pair_view(site: str, p: ToldPair) -> VerifiedPair:
    """A pair as `site` told it."""
    return VerifiedPair(
        from_=EndView(site=site, host=p.from_host, address=p.from_address),
        to=EndView(site=p.to_site, host=p.to_host, address=p.to_address),
        rtt_ms=p.rtt_ms,
        mtu=p.mtu,
        ok=p.ok,
        broken_at=p.broken_at,
        hint=p.hint,
    )


def plan_view(base: str, lines: Sequence[Line]) -> PlanView:
    return PlanView(
        base_version=base,
        changes=tuple(PlanChange(site=x.site, op=x.op, what=x.what, text=x.text) for x in lines),
    )


def busy(found: VpnView) -> bool:
    """Everybody has said whether it can let go, and somebody cannot (decided after one wave, rule 8)."""
    words = {m.answer for m in found.members}
    return Word.HELD.value in words and words <= {Word.HELD.value, Word.DRAINED.value, Word.REFUSED.value}
