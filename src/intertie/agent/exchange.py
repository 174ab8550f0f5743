"""The one peer call: pushing news, hearing news, catching up, first contact (federation rules 7 and 8).

A conversation a peer: whoever has something to say calls; of two sites with nothing to say the one whose name comes
first calls, at the heartbeat. The handler answers in the same reply: it makes what came durable, decides, makes its
answers durable, and sends them back. A site that cannot be called asks its peers to hold the reply for news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from intertie.agent import causes, observed
from intertie.agent.agent import Agent
from intertie.agent.enrolment import Enrolment
from intertie.agent.ports import PeerAddress, PeerTransport
from intertie.agent.volatile import Whispers
from intertie.model import wire
from intertie.model.bodies import IntroductionBody
from intertie.model.codec import decode as decode_record
from intertie.model.codec import one_line
from intertie.model.errors import Forbidden, IntertieError, Unavailable
from intertie.model.records import Cursor, Record
from intertie.model.wire import MAX_BATCH, MAX_PAGE, Message
from intertie.planning import trust
from intertie.planning.hearing import STRANGER, acceptable, concerning, returned_to

HOLD = 25.0
"""Seconds for which a site that cannot be called asks for a reply to be held."""
QUICK = 1.0
LONGEST_BACKOFF = 30.0
WHISPER = 0.1
"""Seconds for which changes of measured health are gathered before they are told."""
SILENT_AFTER = 3
"""Heartbeats without a word before a peer is called silent."""


class Exchange:
    """All conversations of one agent."""

    def __init__(self, agent: Agent, transport: PeerTransport, enrolment: Enrolment, whispers: Whispers) -> None:
        self.agent = agent
        self.transport = observed.WatchedCalls(transport, agent)
        self.enrolment = enrolment
        self.whispers = whispers
        self.clones = enrolment.clones
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, Cursor] = {}
        """How far each peer has been told, whether or not it has acknowledged it yet."""
        self._answering: set[str] = set()
        """Peers whose call is being answered: what is new for them goes with the reply, not by a call of its own."""
        self._whispered: dict[str, int] = {}
        self._meanwhile: dict[str, Cursor] = {}
        """How far peers have been read that take their own past back: after that, all is read again."""
        self._taken_back: dict[str, Cursor] = {}
        """While recovering: how far each peer has given back what it holds of ours."""

    # ── Answering ──────────────────────────────────────────────────────────────────────────────────────────

    @observed.answered
    async def handle(self, caller: str | None, request: bytes) -> bytes:
        """The reply to one call. Errors of the tree go to the transport, which answers them with few words."""
        if self.agent.cut_off:
            # Another agent of this site may know more by now; who has no store promises nothing.
            raise Unavailable(f"{self.agent.site} cannot reach its store")
        message, faults = wire.decode(request, decode_record)
        causes.begin(message)
        if caller is None:
            if message.join is None:
                raise Forbidden("who shows no certificate may only join")
            await self.enrolment.admit(message.join, message.records, message.sender)
            return wire.encode(self.compose(message.sender, Cursor()))
        if caller != message.sender or caller not in trust.pins(self.agent.table):
            raise Forbidden(f"{caller} may not speak for {message.sender}")
        # Not before: what a stranger sends is worth no line in the log, and no event that pushes out another.
        self.agent.complaints.hear(self.agent, caller, tuple(faults))
        self._answering.add(caller)
        try:
            return await self._answer(caller, message)
        finally:
            self._answering.discard(caller)
            self.agent.news.ring()

    @observed.traced
    async def _answer(self, caller: str, message: Message) -> bytes:
        await self.hear(message)
        if message.verify:
            # Who asks has had a word with all; those of whose hosts nothing is known here have not had one with us.
            await asyncio.gather(*(self._word(s) for s in sorted(self.whispers.strangers(message.verify))))
            verified = await self.whispers.verify(message.verify, caller)
            reply = self.compose(caller, message.held)
            return wire.encode(replace(reply, volatile=replace(reply.volatile, verified=verified)))
        if message.wait > 0:
            await self._hold(caller, message)
        reply = self.compose(caller, message.held)
        self._said[caller] = max(reply.upto, self._said.get(caller, Cursor()))
        return wire.encode(reply)

    async def _word(self, peer: str) -> None:
        """A quick call, for the hosts that the peer names. That it is silent will show by itself."""
        pinned = trust.pins(self.agent.table).get(peer)
        if pinned is not None and pinned.address:
            with suppress(IntertieError, TimeoutError):
                async with asyncio.timeout(QUICK):
                    await self.speak(peer, pinned)

    async def _hold(self, peer: str, message: Message) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + min(message.wait, HOLD)
        while (left := until - loop.time()) > 0:
            if (
                concerning(self.agent.table, peer, message.held)
                or self._whispered.get(peer, 0) != self.agent.whispers
            ):
                return
            await self.agent.news.wait(left)

    async def hear(self, message: Message, answers: bool = False) -> None:
        """Take in what a peer said, in a request or, when it `answers` what was said to it just now, in a reply."""
        agent, peer = self.agent, message.sender
        pinned = trust.pins(agent.table).get(peer)
        if pinned is None:
            return
        observed.heard(agent, message)
        if not answers:
            agent.peer(peer).called_at = asyncio.get_running_loop().time()
        taken = await self.clones.heard(message)
        # Before anything is written: it would go where peers have read already.
        if message.held > agent.opened and await agent.behind(peer, message.held, message.held_of):
            self._taken_back.clear()
        await self.clones.told(peer, message.cloned)
        if not taken:
            self._noted(message)
            return
        if not message.recover:
            self._meanwhile.pop(peer, None)
        elif peer not in self._meanwhile:
            self._meanwhile[peer] = self._held(peer)
            await agent.read_anew(peer)
        await agent.take(peer, partial(self._judged, message, pinned), message.held, message.boot)
        if agent.recovering and peer not in agent.told_by and (message.returns or message.returned):
            await self._take_back(peer, message, answers or not pinned.address)
        self.whispers.heard(peer, message.volatile)
        self._noted(message)
        state = agent.peer(peer)
        state.recovers, state.recovers_after = message.recover, message.recover_after
        agent.relay_heard(peer, message.volatile, called=not answers)

    def _noted(self, message: Message) -> None:
        """The peer lives."""
        agent, peer = self.agent, message.sender
        state = agent.peer(peer)
        if state.boot not in ("", message.boot) or state.recovers:
            self.whispers.unheard(peer)  # it has forgotten what it was told, or knew not of what that was
        state.last_seen, state.failures, state.problem = agent.now(), 0, ""
        state.heard_at = asyncio.get_running_loop().time()
        state.boot = message.boot
        state.recovers = False

    def _judged(self, message: Message, pinned: IntroductionBody) -> tuple[list[Record], Cursor | None]:
        """What is believed of a peer's records, and how far it has been read with them; None: as before."""
        peer = message.sender
        held = self._held(peer)
        records = [r for r in message.records if self._genuine(r, peer, pinned)]
        # Only what follows on without a gap moves the cursor; after a gap our next word says so, and it comes again.
        # So does an adoption that is not understood yet.
        follows = message.since <= held and not self._puzzled(peer, message.records)
        if message.boot != self.agent.read_of(peer) and Cursor() < message.opened < held:
            follows = False  # It is behind its own past: what was read of it before says so, until it knows.
        cursor = max(held, message.upto) if follows else None
        if message.recover:
            # What returns to a site that takes its own past back lies below what it says meanwhile.
            self._meanwhile[peer], cursor = cursor or held, None
        return records, cursor

    def _genuine(self, record: Record, peer: str, pinned: IntroductionBody) -> bool:
        """Whether a record may be believed: the peer's own, signed by its root, and within what a peer may say."""
        problem: str | None = "it cannot be judged here"
        try:
            problem = acceptable(self.agent.table, peer, record)
        except Exception:
            # Of the loop over a peer's records: what one of them does to a rule is not for the others to bear.
            self.agent.ports.log.exception("record not judged", peer=peer, record=record.id)
        if problem is None and not self.agent.ports.keys.verify(pinned.root, record):
            problem = "the signature is not its home's"
        if problem is not None:
            self.agent.complaints.hear(self.agent, peer, (f"{record.id}: {problem}",))
        return problem is None

    def _held(self, peer: str) -> Cursor:
        """How far the peer has been read, as it is to know it."""
        return self._meanwhile.get(peer, self.agent.cursors.get(peer, Cursor()))

    def _puzzled(self, peer: str, records: Sequence[Record]) -> bool:
        problems = [acceptable(self.agent.table, peer, r) for r in records if r.order.epoch]
        return any(problem is not None and problem.endswith(STRANGER) for problem in problems)

    async def _take_back(self, peer: str, message: Message, asked: bool) -> None:
        """Own records that a peer kept for us (rule 18), page by page. Unless it was `asked` just now, it may still
        go by what was said before this agent began: then what it sends is no next page, nor the last one."""
        agent = self.agent
        root = agent.ports.keys.root
        own = [r for r in message.returned if r.home == agent.site and agent.ports.keys.verify(root, r)]
        beyond = max((r.cursor for r in own), default=Cursor())
        if beyond > agent.last:
            await agent.behind(peer, beyond)
        done = await agent.take(peer, lambda: (own, None), agent.acked.get(peer, Cursor()))
        agent.disputed.update((r.id, r) for r in done.equivocations)
        if not asked:
            return
        self._taken_back[peer] = max([self._taken_back.get(peer, Cursor()), *(r.cursor for r in message.returned)])
        agent.tell("recovered", "", peer, f"{len(own)} own records came back from {peer}")
        if message.returns:
            await agent.told(peer)

    # ── Saying ─────────────────────────────────────────────────────────────────────────────────────────────

    def compose(self, peer: str, since: Cursor) -> Message:
        """All that this site has to say to a peer which has read it up to `since`."""
        agent = self.agent
        self._whispered[peer] = agent.whispers
        news = concerning(agent.table, peer, since)
        batch = page(news)
        upto = batch[-1].cursor if len(batch) < len(news) else max(agent.table.last(), since)
        state = agent.peer(peer)
        owned = returned_to(agent.table, peer, state.recovers_after) if state.recovers else []
        given_back = page(owned)
        message = Message(
            sender=agent.site,
            incarnation=agent.incarnation,
            boot=agent.lineage,
            opened=agent.opened,
            mark=self.clones.mark(peer),
            echo=self.clones.echo(peer),
            cloned=self.clones.quarantined(peer),
            held=self._held(peer),
            held_of=state.boot if peer in self._meanwhile else agent.read_of(peer),
            since=since,
            upto=upto,
            records=tuple(batch),
            returned=tuple(given_back),
            returns=state.recovers and len(given_back) == len(owned),
            volatile=self.whispers.tell(peer),
            more=len(batch) < len(news),
            recover=agent.recovering,
            recover_after=self._taken_back.get(peer, Cursor()),
        )
        return observed.stamped(agent, message)

    async def run(self) -> None:
        """Keep a conversation with every pinned peer until cancelled."""
        trusted: dict[str, str] | None = None
        try:
            while True:
                pins = trust.pins(self.agent.table)
                roots = {name: body.root for name, body in pins.items()}
                if roots != trusted:
                    self.transport.trust(roots)
                    trusted = roots
                for name in sorted(pins.keys() - self._tasks.keys()):
                    self._tasks[name] = asyncio.create_task(self._converse(name), name=f"peer {name}")
                for name in sorted(self._tasks.keys() - pins.keys()):
                    self._tasks.pop(name).cancel()
                await self.agent.news.wait(None)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _converse(self, peer: str) -> None:
        """Two turns to speak: the beat, which also finds a lost peer again, and the push, which waits for none."""
        await asyncio.gather(self._beat(peer), self._push(peer))

    async def _beat(self, peer: str) -> None:
        while True:
            pinned = trust.pins(self.agent.table).get(peer)
            if pinned is None:
                return
            if not pinned.address or not self.agent.leads:
                # Who stands by may come to lead without any news.
                await self.agent.news.wait(None if self.agent.leads else QUICK)
                continue
            wait = 0.0 if self.agent.settings.address else HOLD
            if await self._call(peer, pinned, wait) and not wait:
                await self._until_beat(peer)

    async def _push(self, peer: str) -> None:
        agent = self.agent
        while True:
            said = max(agent.acked.get(peer, Cursor()), self._said.get(peer, Cursor()))
            pinned = trust.pins(agent.table).get(peer)
            # What is new for a peer that calls us just now goes with the reply; to one that is lost, with the beat.
            quiet = peer in self._answering or agent.peer(peer).failures or pinned is None or not pinned.address
            if quiet or not agent.leads or pinned is None or not concerning(agent.table, peer, said):
                await agent.news.wait(None if agent.leads else QUICK)
            elif await self._call(peer, pinned, 0.0) and self._said.get(peer, Cursor()) <= said:
                # It answers, but does not take it in: the beat is soon enough to try again (invariant I18).
                await asyncio.sleep(agent.settings.heartbeat)

    async def _call(self, peer: str, pinned: IntroductionBody, wait: float) -> bool:
        """Speak until all is said. False, after a pause that grows, if there was no answer."""
        try:
            going = True
            while going:
                before = (self._held(peer), self._taken_back.get(peer))
                reply = await self.speak(peer, pinned, wait=wait)
                wait = 0.0
                more = reply.more or bool(reply.returned and not reply.returns)
                # Who promises more and says the same again is asked at the next beat (invariant I18).
                going = more and before != (self._held(peer), self._taken_back.get(peer))
        except IntertieError as error:
            self._said.pop(peer, None)
            self.whispers.unheard(peer)
            await self._back_off(peer, error)
            return False
        return True

    async def speak(
        self, peer: str, pinned: IntroductionBody, verify: tuple[str, ...] = (), wait: float = 0.0
    ) -> Message:
        """One call, and what came back taken in. Unavailable if nothing did."""
        agent = self.agent
        message = replace(self.compose(peer, agent.acked.get(peer, Cursor())), verify=verify, wait=wait)
        self._said[peer] = max(message.upto, self._said.get(peer, Cursor()))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        address = PeerAddress(name=peer, address=pinned.address, root=pinned.root)
        with observed.speaking(agent, peer, message) as said:
            raw = await self.transport.call(address, wire.encode(said), agent.settings.call_timeout + wait)
        reply, faults = wire.decode(raw, decode_record)
        if reply.sender != peer:
            raise Unavailable(f"{peer} answered as {reply.sender}", code="owner-silent")
        self.agent.complaints.hear(self.agent, peer, tuple(faults))
        if not wait and not verify:
            agent.peer(peer).rtt_ms = (loop.time() - begun) * 1000
        self._said[peer] = reply.held
        await self.hear(reply, answers=True)
        return reply

    async def answers(self, peer: str, seconds: float) -> bool:
        """Whether a peer says anything within that time; one that cannot be called, whether it spoke lately."""
        pinned = trust.pins(self.agent.table).get(peer)
        if pinned is None:
            return False
        if not pinned.address:
            silent = asyncio.get_running_loop().time() - self.agent.peer(peer).heard_at
            return silent < SILENT_AFTER * self.agent.settings.heartbeat
        try:
            async with asyncio.timeout(seconds):
                await self.speak(peer, pinned)
        except (IntertieError, TimeoutError):
            return False
        return True

    async def _back_off(self, peer: str, error: IntertieError) -> None:
        state = self.agent.peer(peer)
        if state.failures == 0:
            self.agent.warn("peer", peer, peer, f"no answer: {error.detail}")
            self.agent.news.ring()
        state.failures += 1
        state.problem = error.detail
        self.agent.relay("silent", peer=peer, count=state.failures, problem=one_line(error.detail))
        # Jitter, so that a returning site is not met by all its peers at once (invariant I18).
        await asyncio.sleep(
            min(0.5 * 2 ** min(state.failures - 1, 6), LONGEST_BACKOFF) * self.agent.ports.chance.uniform(0.5, 1.0)
        )

    async def _until_beat(self, peer: str) -> None:
        """Returns when it is this site's turn to be heard: the beat, or a change of health worth telling."""
        agent = self.agent
        loop = asyncio.get_running_loop()
        until = loop.time() + agent.settings.heartbeat * self.agent.ports.chance.uniform(0.8, 1.0)
        while True:
            if self._whispered.get(peer, 0) != agent.whispers:
                # A moment, so that a change of many pairs goes in one call.
                await asyncio.sleep(WHISPER)
                return
            # One of a pair keeps the beat; the other speaks up only when it was not called for too long, or wants its
            # past back, or to be heard again: only who asked is answered that.
            wants = peer in agent.untold() or peer in agent.accusers
            heard = agent.peer(peer).called_at if agent.site > peer and not wants else float("-inf")
            left = max(until, heard + agent.settings.heartbeat * SILENT_AFTER) - loop.time()
            if left <= 0:
                return
            await agent.news.wait(left)


def page(records: Sequence[Record]) -> list[Record]:
    """As many of the first records as one message carries; one at least, if there is any."""
    size = 0
    for n, record in enumerate(records):
        size += len(record.raw)
        if n and (n == MAX_BATCH or size > MAX_PAGE):
            return list(records[:n])
    return list(records)
