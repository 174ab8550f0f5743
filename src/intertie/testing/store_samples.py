"""Records to fill stores with: real bytes, and in place of a signature something that depends on them."""

from __future__ import annotations

from intertie.model.bodies import IntroductionBody
from intertie.model.codec import decode, encode
from intertie.model.records import Draft, Header, Kind, Order, Record, State

SITE = "nantes"
PEER = "lyon"


def draft(name: str, text: str = "", *, base: Order | None = None, state: State = State.LIVE) -> Draft:
    body = IntroductionBody(site=PEER, root=text)
    return Draft(kind=Kind.INTRODUCTION, id=f"{SITE}.{name}", body=body, base=base, state=state)


def seal(draft: Draft, order: Order) -> Record:
    header = Header(kind=draft.kind, id=draft.id, home=order.adopter or SITE, order=order, state=draft.state)
    raw = encode(header, draft.body)
    return decode(raw, b"signed:" + raw[-20:])


def foreign(name: str, order: Order, text: str = "", *, home: str = PEER) -> Record:
    header = Header(kind=Kind.INTRODUCTION, id=f"{home}.{name}", home=order.adopter or home, order=order)
    raw = encode(header, IntroductionBody(site=SITE, root=text))
    return decode(raw, b"\x00\xff" + raw[:10])


def at(seq: int, incarnation: int = 1) -> Order:
    return Order(0, "", incarnation, seq)
