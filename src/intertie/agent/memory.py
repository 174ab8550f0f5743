"""What an agent has in mind: the table and the inventory, what packets said, what happened. Nothing here is made
durable; that is the pen's (`agent.agent`)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from intertie.agent.causes import Causes
from intertie.agent.complaints import Complaints
from intertie.agent.figures import Figures
from intertie.agent.state import START, News, Peer, Ports, Settings
from intertie.agent.telling import note
from intertie.model.codec import dumps
from intertie.model.items import Inventory
from intertie.model.records import Cursor, Record
from intertie.model.views import Event
from intertie.model.wire import Volatile
from intertie.planning import trust
from intertie.planning.admit import Situation
from intertie.planning.table import Table


class Memory:
    """Of one agent; `Agent` fills it from the store, and keeps it so."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.ports = ports
        self.table = Table(settings.name)
        self.inventory = Inventory()
        self.peers: dict[str, Peer] = {}
        self.cursors: dict[str, Cursor] = {}
        self.acked: dict[str, Cursor] = {}
        self.local: dict[str, dict[str, str]] = {}
        self.silent: frozenset[str] = frozenset()
        """Peers that were not heard of late, as the last round found them."""
        self.blocked: dict[str, float] = {}
        """Vpn (id) → when a loop was last seen in its segment here, on the event loop's clock."""
        self.failures: dict[str, str] = {}
        """Network or host (id) → why the last round could not make it so."""
        self.boot = ports.ids.new()
        """Of this process."""
        self.lineage = self.boot
        """Of the store: what peers compare to tell clones apart."""
        self.leads_until = float("inf") if ports.shared is None else float("-inf")
        """On the event loop's clock: until then this agent does the site's rounds and conversations."""
        self.cut_off, self.overtaken_by = "", list[Record]()
        """Why the store that is shared cannot be reached now; what others wrote, until it is settled what follows."""
        self.incarnation = 0
        self.last = START
        """The last place in the order that this site gave,"""
        self.opened = START
        """and the last that it had given when its lineage began."""
        self.recovering = False
        self.told_by: set[str] = set()
        """While recovering: the peers that have given back what they hold of this site's records."""
        self.disputed: dict[str, Record] = {}
        """While recovering: own records (id) of which a peer holds other bytes of the same order."""
        self.accusers: set[str] = set()
        """Peers that hear another agent write as this site."""
        self.news, self.poke = News(), asyncio.Event()
        self.whispers = 0
        """Rises when measured health or hosts change in a way that peers want to hear before the next heartbeat."""
        self.events: list[Event] = []
        self.figures, self.causes, self.complaints = Figures(), Causes(settings.name), Complaints()

    @property
    def site(self) -> str:
        return self.settings.name

    @property
    def situation(self) -> Situation:
        return Situation(self.table, self.inventory, self.silent)

    @property
    def leads(self) -> bool:
        """Of several agents of a site one does the rounds and the conversations, and the others stand by: that saves
        work, and two who do the same at once do no harm."""
        return self.ports.shared is None or asyncio.get_running_loop().time() < self.leads_until

    def now(self) -> datetime:
        return self.ports.clock.now()

    # ── Loops ──────────────────────────────────────────────────────────────────────────────────────────────

    def loop_seen(self, vpn: str) -> None:
        """A frame of ours came back from the tenant side: the segment forwards nothing until `unblock`. Checks go on
        meanwhile, and each that still sees the loop puts that off."""
        self.relay("loop", vpn=vpn)
        self.block(vpn)

    def block(self, vpn: str) -> None:
        new = vpn not in self.blocked
        self.blocked[vpn] = asyncio.get_running_loop().time()
        if new:
            self.warn("loop", vpn, self.site, "a loop was seen: the segment is blocked here")
            self.poke.set()
            self.news.ring()

    def listen(self, limit: float) -> bool:
        """Note which peers were not heard for `limit` seconds; whether that changed."""
        since = asyncio.get_running_loop().time() - limit
        before = self.silent
        peers = [(site, self.peer(site)) for site in trust.pins(self.table)]
        self.silent = frozenset(site for site, p in peers if p.heard_at < since or p.failures > 2)
        return self.silent != before

    def unblock(self, after: timedelta) -> None:
        """Let segments forward again in which no loop was seen for `after`."""
        now = asyncio.get_running_loop().time()
        for vpn in [v for v, seen in self.blocked.items() if now - seen >= after.total_seconds()]:
            del self.blocked[vpn]
            self.tell("loop", vpn, self.site, "no loop is seen any more: the segment forwards again")
            self.poke.set()

    def whisper(self) -> None:
        """What is measured here changed: peers are told soon."""
        self.whispers += 1
        self.news.ring()

    # ── Telling ────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, kind: str, id: str, site: str, what: str) -> None:
        """Note a change for whoever watches."""
        note(self, self.ports.log.info, kind, (id, site), what)

    def warn(self, kind: str, id: str, site: str, what: str) -> None:
        """`tell`, of what an operator should look at."""
        note(self, self.ports.log.warning, kind, (id, site), what)

    def peer(self, name: str) -> Peer:
        return self.peers.setdefault(name, Peer())

    def pins(self) -> dict[str, Any]:
        return dict(trust.pins(self.table))

    # ── Several agents on one store ────────────────────────────────────────────────────────────────────────

    def relay(self, topic: str, **facts: object) -> None:
        """Tell the site's other agents what is no record."""
        if self.ports.shared is not None:
            self.ports.shared.relay(dumps({"topic": topic, **facts}).decode())

    def relay_heard(self, peer: str, volatile: Volatile, *, called: bool) -> None:
        """Tell them what a peer said just now; `called`: of its own accord."""
        state = self.peer(peer)
        self.relay("heard", peer=peer, at=state.last_seen, rtt_ms=state.rtt_ms, called=called, volatile=volatile)
