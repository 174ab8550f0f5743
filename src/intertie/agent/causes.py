"""Why something happens: the user's request behind it, followed through records to other sites.

A request is named where it comes in (`api.gate`) and is the `current` cause of all that its task does. What it wrote
is taken up by other tasks, and at other sites: so the cause of each version of a record is kept for a while, and
goes with the record to peers. It is for people who read logs, and never decides anything.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from intertie.model.bodies import AnswerBody, ProposalBody
from intertie.model.records import Kind, Order, Record
from intertie.model.wire import Message, ToldCause
from intertie.planning.identity import made_network

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, version 00."""
OPENSTACK_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LATELY = 60.0
"""Seconds for which what happens to a thing counts as caused by who wrote it last."""
MOST = 2048


@dataclass(frozen=True, slots=True)
class Cause:
    """A request, and the span (traceparent) within which it is traced; "" for none."""

    request: str = ""
    trace: str = ""

    def __bool__(self) -> bool:
        return bool(self.request or self.trace)

    def facts(self) -> dict[str, str]:
        """For a line of the log."""
        return {"request": self.request} if self.request else {}


NONE = Cause()
_current: ContextVar[Cause] = ContextVar("intertie_cause", default=NONE)


def current() -> Cause:
    """Why the running task does what it does."""
    return _current.get()


def openstack_id() -> str:
    """The request's id, if OpenStack's services would take it for theirs: "req-" and a UUID."""
    id = _current.get().request
    return id if OPENSTACK_ID.fullmatch(id) else ""


@contextmanager
def because(cause: Cause) -> Iterator[None]:
    """Within it, `cause` is the current one."""
    token = _current.set(cause)
    try:
        yield
    finally:
        # A task that is thrown away may be closed from another one, whose cause this is not.
        with suppress(ValueError):
            _current.reset(token)


def begin(message: Message) -> None:
    """From here on, until the `because` around it ends, the task works for the request that the message names."""
    cause = decent(message)
    _current.set(cause if cause.request else NONE)


def decent(said: Message | ToldCause) -> Cause:
    """A peer may write anything; what is no id is none."""
    request = said.request if REQUEST_ID.fullmatch(said.request) else ""
    trace = said.trace if TRACEPARENT.fullmatch(said.trace) else ""
    return Cause(request, trace)


@dataclass(frozen=True, slots=True)
class _Known:
    cause: Cause
    order: Order | None
    at: float
    """On the event loop's clock."""


class Causes:
    """The causes of what was written lately; bounded, and lost with the process."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def written(self, records: Iterable[Record]) -> None:
        """This site wrote these, in the current task; an answer is caused by what it answers, and what a home adds to
        its record when answers come in, by what the record was written for."""
        for record in records:
            body = record.body
            about = body.vpn if isinstance(body, AnswerBody | ProposalBody) else record.id
            if cause := current() or self.lately(about):
                self._note(record, cause)

    def heard(self, message: Message) -> None:
        """A peer says why it wrote its records."""
        said = {c.record: decent(c) for c in message.causes}
        for record in message.records if said else ():
            if record.home == message.sender and (cause := said.get(record.id, NONE)):
                self._note(record, cause)

    def told(self, records: Iterable[Record]) -> tuple[ToldCause, ...]:
        """What a peer that gets these records is told of why they were written."""
        found = ((r, self._known.get(r.id)) for r in records)
        return tuple(
            ToldCause(record=r.id, request=k.cause.request, trace=k.cause.trace)
            for r, k in found
            if k is not None and k.order == r.order
        )

    def lately(self, id: str) -> Cause:
        """Why a record, or an item ("vpn/network" is its Vpn's), changed within the last minute."""
        known = self._known.get(id.partition("/")[0])
        fresh = known is not None and asyncio.get_running_loop().time() - known.at <= LATELY
        return known.cause if known is not None and fresh else NONE

    def _note(self, record: Record, cause: Cause) -> None:
        known = _Known(cause, record.order, asyncio.get_running_loop().time())
        self._put(record.id, known)
        if record.header.kind is Kind.VPN:
            # The network that a Vpn makes at a member has an id of its own.
            self._put(made_network(self._site, record.id), known)

    def _put(self, id: str, known: _Known) -> None:
        self._known[id] = known
        self._known.move_to_end(id)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
