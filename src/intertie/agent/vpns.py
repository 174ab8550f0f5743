"""What users do with Vpns: make, look, change, verify, delete, adopt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from intertie.agent.access import Caller, Role
from intertie.agent.agent import Agent
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.repeat import Repeat
from intertie.agent.volatile import Whispers
from intertie.agent.vpn_plans import ANY, VpnPlans, Wish, as_planned, changed, check_version, ended
from intertie.agent.vpn_views import Outcome, busy, pair_view
from intertie.agent.yielded import SPACE as SUPERSEDED
from intertie.agent.yielded import shown as yielded
from intertie.model.bodies import Attachment, ProposalBody, Require, VpnBody, Word
from intertie.model.codec import check_name
from intertie.model.errors import Conflict, IntertieError, NotFound, Unavailable
from intertie.model.records import Draft, Kind, Record, State
from intertie.model.views import Pending, Phase, Verified, VpnRequest, VpnView
from intertie.model.wire import ToldPair
from intertie.planning import change, trust
from intertie.planning.admit import Situation, project_here
from intertie.planning.advertise import withdrawal
from intertie.planning.faults import apart
from intertie.planning.held import takes_part
from intertie.planning.proposals import gone, proposal_id
from intertie.planning.status import in_order, view

PROPOSAL_LIFE = timedelta(minutes=10)
LONGEST_WAIT = 60.0
LONGEST_WORD = 5.0
"""Seconds for which a verification waits for a member's agent to say anything."""


class _MadeBefore(Exception):
    """The Vpn that was asked for is there already: its id."""


class Vpns:
    """The use cases."""

    def __init__(self, agent: Agent, exchange: Exchange, health: Health, whispers: Whispers) -> None:
        self.agent = agent
        self._exchange = exchange
        self._health = health
        self._whispers = whispers
        self._making = asyncio.Lock()
        self.plans = VpnPlans(agent, self._find)

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────────────

    def all(self, caller: Caller) -> list[VpnView]:
        """Vpns of the caller's project that this site is a member of, in order of creation."""
        seen = (self.shown(caller, record) for _, record in in_order(self.agent.table))
        return [found for found in seen if found is not None]

    def get(self, caller: Caller, wanted: str) -> VpnView:
        """By id or name. NotFound also for what is another project's."""
        return self.view(self._find(caller, wanted))

    def _find(self, caller: Caller, wanted: str) -> Record:
        record = self.agent.table.get(wanted)
        found = [record] if record is not None and record.header.kind is Kind.VPN else []
        found = found or [r for r in self.agent.table.all_of(Kind.VPN) if r.body.name == wanted]
        # A deleted one makes room for another with its name: the standing one is meant.
        for candidate in sorted(found, key=lambda r: not r.live):
            if _shown(candidate) and self._seen_by(caller, candidate):
                return candidate
        self.agent.needs_its_past()  # it may be one of those that are to come back: nobody shall take it for gone
        raise NotFound(f"no Vpn {wanted}", hint="intertie vpn list")

    def shown(self, caller: Caller, vpn: Record) -> VpnView | None:
        """As the caller sees it in a list; None if it is not the caller's to see, or cannot be shown."""
        with apart(self.agent.table.faults, vpn.id):
            if _shown(vpn) and self._seen_by(caller, vpn):
                return self.view(vpn)
        return None

    def _seen_by(self, caller: Caller, vpn: Record) -> bool:
        return takes_part(self.agent.table, vpn) and caller.sees(project_here(self.agent.table, vpn))

    def view(self, vpn: Record) -> VpnView:
        project = project_here(self.agent.table, vpn)
        found = view(self.agent.table, vpn, self._health.sights_of(vpn), project)
        lost = yielded(self.agent.local.get(SUPERSEDED, {}), vpn, self.agent.now())
        return replace(found, superseded=lost) if lost else found

    # ── Making ─────────────────────────────────────────────────────────────────────────────────────────────

    async def create(
        self, caller: Caller, request: VpnRequest, wait: float = 0.0, key: str = "", base: str = ANY
    ) -> VpnView:
        """Make a Vpn of this site's. With `wait`, until every member has answered; a refusal is then a Conflict and
        nothing of the Vpn remains. The same `key` again gives the same Vpn. `base` names the plan that it follows."""
        caller.needs(Role.MEMBER)
        async with self._making:
            # One at a time, so that of two deliveries of one request the second finds what the first made.
            again = Repeat(self.agent, caller.project, key, repr((caller.project, request)))
            id = again.made(self._stands) or await self._make(caller, request, again, base)
        await self._until(id, _settled, wait)
        await self._raise_if_refused(id, wait)
        return self.view(self._record(id))

    def _stands(self, id: str) -> bool:
        record = self.agent.table.get(id)
        return record is not None and _shown(record)

    async def _make(self, caller: Caller, request: VpnRequest, again: Repeat, base: str) -> str:
        self.agent.needs_its_past()
        id, now = self._id(), self.agent.now()

        def decide(s: Situation) -> list[Draft]:
            if before := again.made(self._stands):
                raise _MadeBefore(before)  # by another agent of this site, meanwhile
            return [as_planned(s, None, change.new_vpn(s, request, caller.project, id, now), base)]

        try:
            await self.agent.write(decide, again.notes(id))
        except _MadeBefore as found:
            return str(found)
        return id

    def _id(self) -> str:
        return f"{self.agent.site}.{self.agent.ports.ids.new()}"

    def _record(self, id: str) -> Record:
        record = self.agent.table.get(id)
        if record is None:
            raise NotFound(f"no Vpn {id}")
        return record

    async def _until(self, id: str, done: Callable[[VpnView, Record], bool], wait: float) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait, LONGEST_WAIT)
        while True:
            record = self.agent.table.get(id)
            if record is None or done(self.view(record), record):
                return True
            left = until - loop.time()
            if left <= 0:
                return False
            await self.agent.news.wait(min(left, 1.0))

    async def _raise_if_refused(self, id: str, wait: float) -> None:
        """The caller who waited hears the refusal; nothing is left for it to clean up."""
        record = self._record(id)
        refusal = record.body.refusal
        if not wait or refusal is None:
            return
        if not record.live and record.home == self.agent.site:  # who adopted it meanwhile says that itself
            await self.agent.write(lambda s: [_acknowledged(self._record(id))])
        raise Conflict(refusal.text, code=refusal.code, hint=refusal.hint, sites=(refusal.text.split(":", 1)[0],))

    # ── Changing ───────────────────────────────────────────────────────────────────────────────────────────

    async def update(
        self,
        caller: Caller,
        wanted: str,
        name: str,
        attachments: Sequence[Attachment],
        base: str,
        wait: float = 0.0,
    ) -> Outcome:
        """Give the Vpn this name and exactly these members. `base` is the version it is meant for (If-Match)."""
        caller.needs(Role.MEMBER)
        vpn = self._standing(caller, wanted)
        check_version(vpn, base)
        if name:
            check_name(name)
        wish = Wish(name, tuple(attachments))
        if vpn.home != self.agent.site:
            if "+" in base:
                as_planned(self.agent.situation, vpn, changed(self.agent.situation, vpn, wish), base)
            body = ProposalBody(
                vpn=vpn.id,
                base=vpn.order,
                change="update",
                name=name or vpn.body.name,
                attachments=tuple(attachments),
                project=caller.project,
                not_after=self.agent.now() + PROPOSAL_LIFE,
            )
            return await self._propose(vpn, body, wait)
        self.agent.needs_its_past()
        await self.agent.write(lambda s: [as_planned(s, vpn, changed(s, self._unmoved(vpn), wish), base)])
        await self._until(vpn.id, _settled, wait)
        await self._raise_if_refused(vpn.id, wait)
        return Outcome(vpn=self.view(self._record(vpn.id)))

    async def delete(
        self, caller: Caller, wanted: str, base: str = "*", force: bool = False, wait: float = 0.0
    ) -> Outcome | None:
        """Close the Vpn; None if it is gone. `force` skips the guard and destroys nothing that is in use."""
        caller.needs(Role.MEMBER)
        vpn = self._find(caller, wanted)
        check_version(vpn, base)
        if vpn.home != self.agent.site:
            if "+" in base:
                as_planned(self.agent.situation, vpn, ended(vpn, force), base)
            body = ProposalBody(
                vpn=vpn.id,
                base=vpn.order,
                change="delete",
                force=force,
                project=caller.project,
                not_after=self.agent.now() + PROPOSAL_LIFE,
            )
            outcome = await self._propose(vpn, body, wait)
            if outcome.pending is not None:
                return outcome
        else:
            # It may have named more members since: they would never hear of its end.
            self.agent.needs_its_past()
            await self.agent.write(lambda s: _ending(s, self._record(vpn.id), force, base))
        # Who closes it hears after one wave that it is in use; who asks again waits for the ports to go.
        again = vpn.header.state is State.CLOSING
        await self._until(vpn.id, lambda v, r: not r.live or (not again and busy(v)), wait)
        if not self._record(vpn.id).live:
            return None
        if wait:
            self._raise_if_busy(vpn.id)
        return Outcome(vpn=self.view(self._record(vpn.id)))

    def _raise_if_busy(self, id: str) -> None:
        answers = self.agent.table.answers(id)
        busy = {s: a.ports for s, a in answers.items() if a.word is Word.HELD}
        if busy:
            words = ", ".join(f"{s} has {n} port{'s' if n > 1 else ''} in use" for s, n in busy.items())
            raise Conflict(
                words,
                code="in-use",
                hint="it goes when these hosts are gone; to keep it: vpn update; not to wait: --force",
                sites=tuple(busy),
            )

    def _standing(self, caller: Caller, wanted: str) -> Record:
        vpn = self._find(caller, wanted)
        if not vpn.live:
            raise Conflict(f"Vpn {wanted} has ended", code="stale")
        return vpn

    def _unmoved(self, vpn: Record) -> Record:
        now = self._record(vpn.id)
        if now.order != vpn.order:
            raise Conflict(f"{vpn.body.name} was changed meanwhile", hint="look again, then ask again")
        return now

    # ── Asking another home ────────────────────────────────────────────────────────────────────────────────

    async def _propose(self, vpn: Record, body: ProposalBody, wait: float) -> Outcome:
        """Ask the home for a change. With `wait`: its word, or owner-silent."""
        id = proposal_id(self.agent.site, self.agent.ports.ids.new())
        await self.agent.write(lambda s: [Draft(kind=Kind.PROPOSAL, id=id, names=(vpn.home,), body=body)])
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait, LONGEST_WAIT)
        while (answer := self.agent.table.answers(id).get(vpn.home)) is None and (left := until - loop.time()) > 0:
            await self.agent.news.wait(min(left, 1.0))
        if answer is None and wait:
            await self.agent.write(lambda s: [gone(s.table, id)])
            raise Unavailable(
                f"{vpn.home}, the home of {vpn.body.name}, does not answer",
                code="owner-silent",
                hint=f"try later; if {vpn.home} is gone for good: intertie vpn adopt {vpn.body.name}",
                sites=(vpn.home,),
            )
        if answer is None:
            pending = Pending(proposal=id, waiting_for=vpn.home)
            return Outcome(vpn=self.view(self._record(vpn.id)), pending=pending)
        await self.agent.write(lambda s: [gone(s.table, id)])
        if answer.word is Word.REFUSED and answer.reason is not None:
            raise Conflict(answer.reason.text, code=answer.reason.code, hint=answer.reason.hint, sites=(vpn.home,))
        return Outcome(vpn=self.view(self._record(vpn.id)))

    async def withdraw(self, caller: Caller, wanted: str, proposal: str = "") -> None:
        """Ask no more for the change `proposal`, or for any. What its home has applied already stays applied."""
        caller.needs(Role.MEMBER)
        asked = [p.proposal for p in self.get(caller, wanted).proposals if proposal in ("", p.proposal)]
        if not asked:
            raise NotFound(f"no change of {wanted} waits here for its home", hint=f"intertie vpn show {wanted}")
        await self.agent.write(lambda s: [gone(s.table, id) for id in asked])

    async def adopt(self, caller: Caller, wanted: str, base: str = "*", force: bool = False) -> VpnView:
        """This site becomes the home of a Vpn whose home is lost (rule 14). Conflict (owner-up) if that answers when
        it is asked, unless by `force`."""
        caller.needs(Role.ADMIN)
        vpn = self._standing(caller, wanted)
        check_version(vpn, base)
        self.agent.needs_its_past()
        change.adopted_vpn(self.agent.table, vpn)  # what cannot be anyway is said before the home is asked
        if not force:
            await self._check_lost(vpn)
        await self.agent.write(lambda s: [change.adopted_vpn(s.table, self._record(vpn.id))])
        return self.view(self._record(vpn.id))

    async def _check_lost(self, vpn: Record) -> None:
        heirs = vpn.body.successors
        if heirs and self.agent.site not in heirs:
            raise Conflict(
                f"{vpn.body.name} names {', '.join(heirs)} to follow {vpn.home}",
                code="owner-up",
                hint=f"at {heirs[0]}: intertie vpn adopt {vpn.body.name}; here: --force",
                sites=heirs,
            )
        if await self._exchange.answers(vpn.home, LONGEST_WORD):
            raise Conflict(
                f"{vpn.home}, the home of {vpn.body.name}, answers",
                code="owner-up",
                hint="ask it for the change (vpn update, vpn delete); to become the home though it is there: --force",
                sites=(vpn.home,),
            )

    # ── Verifying ──────────────────────────────────────────────────────────────────────────────────────────

    async def verify(self, caller: Caller, wanted: str) -> Verified:
        """Run every pair of the Vpn now, full-size packets included, from each member's own hosts."""
        vpn = self._standing(caller, wanted)
        others = sorted(set(vpn.header.names) - {self.agent.site})
        # One word with everybody first, so that all know one another's newest hosts; who is silent is asked no more.
        words = zip(others, await asyncio.gather(*(self._ask(vpn, o, ()) for o in others)), strict=True)
        silent = {site: told for site, told in words if told}
        heard = [o for o in others if o not in silent]
        here = self._whispers.verify((vpn.id,), self.agent.site)
        mine, *theirs = await asyncio.gather(here, *(self._ask(vpn, o, (vpn.id,)) for o in heard))
        pairs = [pair_view(self.agent.site, p) for p in mine]
        for site, told in [*zip(heard, theirs, strict=True), *silent.items()]:
            pairs += [pair_view(site, p) for p in told]
        return Verified(ok=bool(pairs) and all(p.ok for p in pairs), pairs=tuple(pairs))

    async def _ask(self, vpn: Record, site: str, verify: tuple[str, ...]) -> tuple[ToldPair, ...]:
        pinned = trust.pins(self.agent.table).get(site)
        problem = f"{site} {'is no peer of' if pinned is None else 'cannot be called from'} {self.agent.site}"
        if pinned is not None and pinned.address:
            try:
                async with asyncio.timeout(None if verify else LONGEST_WORD):
                    reply = await self._exchange.speak(site, pinned, verify)
                return tuple(p for p in reply.volatile.verified if p.vpn == vpn.id)
            except IntertieError as error:
                problem = error.detail
            except TimeoutError:
                problem = f"{site} did not answer within {LONGEST_WORD:g} s"
        lost = ToldPair(
            vpn=vpn.id, broken_at="agent", hint=f"{problem}: its pairs were not run; forwarding may go on"
        )
        return (lost,)


def _shown(vpn: Record) -> bool:
    """Ended Vpns are not shown, but for one that a refusal ended and nobody has deleted yet."""
    return vpn.live or vpn.body.refusal is not None


def _settled(found: VpnView, record: Record) -> bool:
    """Everybody has answered, and nothing follows from it: a refusal that ends the Vpn has ended it."""
    if found.phase is Phase.REFUSED or record.body.refusal is not None:
        return True
    ends_it = (
        {a.site for a in record.body.attachments if not a.agreed} if record.body.require is Require.ALL else set()
    )
    return not any(
        m.answer == "waiting" or (m.answer == Word.REFUSED and m.site in ends_it)
        for m in found.members
        if not m.leaving
    )


def _acknowledged(vpn: Record) -> Draft:
    assert isinstance(vpn.body, VpnBody)
    return replace(withdrawal(vpn, vpn.body), base=vpn.order)


def _ending(situation: Situation, vpn: Record, force: bool, base: str) -> list[Draft]:
    if not vpn.live:
        return [_acknowledged(vpn)] if vpn.body.refusal is not None else []
    draft = as_planned(situation, vpn, ended(vpn, force), base)
    return [draft] if force or vpn.header.state is not State.CLOSING else []
