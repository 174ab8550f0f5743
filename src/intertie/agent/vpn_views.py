"""What the use cases of Vpns answer, made of what they know (the shapes are in `model.views`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from intertie.model.bodies import Word
from intertie.model.views import EndView, Pending, PlanChange, PlanView, VerifiedPair, VpnView
from intertie.model.wire import ToldPair
from intertie.planning.foresight import Line


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
