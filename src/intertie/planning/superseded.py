"""What a former home wrote of a Vpn that somebody adopted meanwhile (rule 14), in words.

The adopter wins, whatever the old home wrote. What that was is no less somebody's wish: it is shown at the old home
until the Vpn is so again, and can be asked for again as any change.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from intertie.model.bodies import Attachment, VpnBody
from intertie.model.records import Record, State
from intertie.model.views import MemberWish, SupersededView
from intertie.planning.foresight import version_text


def yields(site: str, standing: Record | None, news: Record) -> bool:
    """Whether `news`, which takes the place of what stands, is an adoption that did not know what this site wrote."""
    if standing is None or standing.home != site or news.home == site or news.order <= standing.order:
        return False
    body = news.body
    return isinstance(body, VpnBody) and (body.adopted is None or standing.order > body.adopted)


def superseded(lost: Record, standing: Record, at: datetime, by: str) -> SupersededView | None:
    """None if what stands is as it was wished."""
    words = differences(lost, standing)
    if not words:
        return None
    body = lost.body
    assert isinstance(body, VpnBody)
    return SupersededView(
        version=version_text(lost.order),
        at=at,
        by=by,
        what="; ".join(words),
        name=body.name,
        attachments=tuple(MemberWish(site=a.site, network=a.network) for a in _stay(body)),
        ending=lost.header.state is not State.LIVE,
    )


def differences(lost: Record, standing: Record) -> list[str]:
    """How `lost` is not what stands: what a user can wish, and nothing else."""
    then, now = lost.body, standing.body
    assert isinstance(then, VpnBody)
    assert isinstance(now, VpnBody)
    if lost.header.state is not State.LIVE:
        return [] if standing.header.state is not State.LIVE else ["it was ending"]
    found = [f"its name was {then.name}, not {now.name}"] if then.name != now.name else []
    were, are = {a.site: a for a in _stay(then)}, {a.site: a for a in _stay(now)}
    more, less = [s for s in were if s not in are], [s for s in are if s not in were]
    found += [f"{', '.join(more)} {_was(more)} a member"] if more else []
    found += [f"{', '.join(less)} {_was(less)} no member"] if less else []
    found += [
        f"{s} had network {a.network}, not {are[s].network}"
        for s, a in were.items()
        if s in are and a.network and a.network != are[s].network
    ]
    return found


def _stay(body: VpnBody) -> Iterable[Attachment]:
    return [a for a in body.attachments if not a.leaving]


def _was(sites: list[str]) -> str:
    return "was" if len(sites) == 1 else "were each"
