"""What a site decides because somebody asked: changes from elsewhere (rule 13), hosts, life for what was closing.

Each is judged at the moment when it is forced to the site's disk, before the scene takes it in.
"""

from __future__ import annotations

from intertie.model.bodies import AnswerBody, ProposalBody, VpnBody, Word
from intertie.model.records import Kind, Record, State
from intertie.testing.simulator.oracle.scene import Disk, Scene, member, named
from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.watch import Told


class AskedJudge:
    """Looks at what a site has just decided."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._proposed: dict[str, float] = {}
        """Proposal (id) → when it was first forced."""
        self._asks: dict[tuple[str, str], list[float]] = {}
        """(site, name of a Vpn) → when changes were asked for there."""
        self._keys: dict[tuple[str, str, str], Told] = {}
        """(site, project, Idempotency-Key) → what the first one who used it was told."""

    def asked(self, at: float, step: Step) -> None:
        if step.verb in (Verb.CHANGE, Verb.DELETE):
            self._asks.setdefault((step.site, step.name), []).append(at)

    def decided(self, at: float, site: str, record: Record, disk: Disk) -> None:
        """`disk` is as it was before."""
        body = record.body
        if record.header.kind is Kind.ANSWER and record.live:
            assert isinstance(body, AnswerBody)
            asked = disk.get(body.vpn)
            if asked is not None and isinstance(asked.body, ProposalBody) and body.word is Word.ACCEPTED:
                self._applied(at, site, asked, asked.body)
        elif record.header.kind is Kind.PROPOSAL:
            self._proposed.setdefault(record.id, at)
        elif record.header.kind is Kind.HOST and record.id not in disk:
            self._new_host(at, site, record, disk)
        elif record.header.kind is Kind.VPN:
            self._revived(at, site, record, disk.get(record.id))

    def _applied(self, at: float, site: str, asked: Record, body: ProposalBody) -> None:
        """A home has applied a proposal: one that stands, to the version that its user saw."""
        scene = self.scene
        if not asked.live:
            scene.broken("rule 13", at, f"{site} applied {named(asked)}, which was withdrawn")
        versions = [r for _, r in scene.past.get((site, body.vpn), [])]
        if site not in scene.rolled and len(versions) > 1 and versions[-2].order != body.base:
            words = f"{site} applied {named(asked)} to {named(versions[-2])}"
            scene.broken("rule 13", at, f"{words}; its user had seen {body.base.incarnation}.{body.base.seq}")

    def _new_host(self, at: float, site: str, record: Record, disk: Disk) -> None:
        """Rule 12: while a Vpn closes, or a site leaves it, its network there takes no new ports."""
        for id, answer in disk.items():
            word = answer.body
            if not isinstance(word, AnswerBody) or answer.home != site or not answer.live:
                continue
            vpn = disk.get(word.vpn)
            if word.network != record.body.network or vpn is None or not isinstance(vpn.body, VpnBody):
                continue
            attached = member(vpn.body, site)
            leaving = attached is not None and attached.leaving
            if vpn.header.state is State.CLOSING or (vpn.live and leaving):
                self.scene.broken("rule 12", at, f"{site} makes {named(record)} on a network that leaves with {id}")

    def _revived(self, at: float, site: str, record: Record, held: Record | None) -> None:
        """What is closing is taken back by a user's word only."""
        closing = held is not None and held.header.state is State.CLOSING
        if closing and record.header.state is State.LIVE and not self.scene.wished(record.id).changes:
            self.scene.broken("I21", at, f"{site} takes {named(record)} back, and nobody asked for it")

    def told(self, told: Told, others: int) -> None:
        """Also an answer to a request that came with a key: the same again gives the same (docs/interface.md).

        Rule 13: whose home was silent has its proposal withdrawn, so that it is not applied later. `others`: how
        many requests of the site's users have no answer yet."""
        step = told.step
        if step.verb is Verb.VPN and step.point:
            self._with_key(told)
        if told.code != "owner-silent" or step.verb not in (Verb.CHANGE, Verb.DELETE) or others:
            return
        if sum(at >= told.begun for at in self._asks.get((step.site, step.name), ())) > 1:
            # The proposal of somebody who did not wait stands, as that user was told.
            return
        for id, record in sorted(self.scene.disks.get(step.site, {}).items()):
            if not isinstance(record.body, ProposalBody) or record.home != step.site or not record.live:
                continue
            vpn = self.scene.top.get(record.body.vpn)
            if vpn is not None and vpn.body.name == step.name and self._proposed.get(id, 0.0) >= told.begun:
                words = f"{step.site} told its user that the home of {step.name} is silent"
                self.scene.broken("rule 13", told.at, f"{words}, and {named(record)} stands")

    def struck(self, step: Step) -> None:
        """Clocks that jump end keys, which are kept for a day, and lost disks forget them."""
        if step.verb in (Verb.CLOCK, Verb.LOSE_STORE, Verb.RESTORE):
            self._keys = {k: v for k, v in self._keys.items() if k[0] != step.site}

    def _with_key(self, told: Told) -> None:
        step = told.step
        key = (step.site, step.project, step.point)
        before = self._keys.get(key)
        if before is None:
            if told.code in ("ok", "name-taken"):
                self._keys[key] = told
            return
        first = before.step
        if first.name != step.name or first.attachments != step.attachments or self.scene.wish(step.name).deleted:
            return
        at_once = told.begun <= before.at
        pair = {before.code, told.code}
        if (pair == {"ok", "name-taken"} and (before.code == "ok" or at_once)) or (
            pair == {"ok"} and told.id != before.id
        ):
            words = f"{step.site} was asked twice for Vpn {step.name} with one key"
            self.scene.broken("I3", told.at, f"{words}: {before.code} {before.id}, then {told.code} {told.id}")
