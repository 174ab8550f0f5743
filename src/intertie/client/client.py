"""An agent's API, typed: one attribute for each kind of thing, one method for each request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from intertie.client.calls import AT_ONCE, SECONDS, Answer, Calls, Request, Terms
from intertie.client.events import Message, Stream, follow
from intertie.client.networks import Hosts, Networks
from intertie.client.place import Flags, Place, find
from intertie.client.reading import Json, nothing, reader
from intertie.client.sites import Peers, Tokens
from intertie.client.vpns import Vpns
from intertie.model.errors import IntertieError
from intertie.model.views import BundleView, Collected, InvitationView, SitePlan, SiteView

DAY = 24 * 3600
PATIENCE = 60.0


class Client:
    """One agent. Every method raises errors of `model.errors` (see `client.errors`); use it in `with`, or close it.

    `seconds`: how long to wait for an answer. `request_id`: a name for all that is asked, to be found again in the
    logs of every site that is reached; without it the agent gives each request one of its own.
    """

    def __init__(self, place: Place, seconds: float = SECONDS, request_id: str = "") -> None:
        self.place = place
        self._calls = Calls(place, seconds, request_id)
        self.vpns = Vpns(self._calls)
        self.networks = Networks(self._calls)
        self.hosts = Hosts(self._calls)
        self.peers = Peers(self._calls)
        self.tokens = Tokens(self._calls)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._calls.close()

    # ── This site ──────────────────────────────────────────────────────────────────────────────────────────

    def site(self) -> Answer[SiteView]:
        """Its name and place, and what it can carry."""
        return self._calls.ask(reader(SiteView), Request(path="/v1/site"))

    def leave(self) -> None:
        """Leave the federation. Refused while Vpns bind this site to others."""
        self._calls.ask(nothing, Request(method="POST", path="/v1/site/leave"))

    def invite(self, name: str, expires_in: float = DAY) -> Answer[InvitationView]:
        """The token with which the site of that name may join once, within so many seconds."""
        wish: Json = {"name": name, "expires_in": expires_in}
        return self._calls.ask(reader(InvitationView), Request(method="POST", path="/v1/invitations", body=wish))

    def plan(self) -> Answer[SitePlan]:
        """What this site's next round would do."""
        return self._calls.ask(reader(SitePlan), Request(path="/v1/plan"))

    def collect(self, *, force: bool = False, plan: bool = False, terms: Terms = AT_ONCE) -> Answer[Collected]:
        """Remove what no record explains and nobody uses; with `plan`, only tell what that would be."""
        query = {name: "true" for name, wanted in (("force", force), ("plan", plan)) if wanted}
        request = Request(method="POST", path="/v1/gc", query=query, headers=terms.headers())
        return self._calls.ask(reader(Collected), request)

    def bundle(self) -> Answer[BundleView]:
        """All that somebody needs who is to help from afar, and no secret."""
        return self._calls.ask(reader(BundleView), Request(path="/v1/bundle"))

    def ready(self) -> bool:
        """Whether the agent answers, and is ready to serve."""
        try:
            self._calls.ask(nothing, Request(path="/readyz"))
        except IntertieError:
            return False
        return True

    # ── What happens ───────────────────────────────────────────────────────────────────────────────────────

    def events(self, after: str = "") -> Iterator[Message]:
        """From now on, or after the message with this id, until the agent ends the stream."""
        return iter(Stream(self._calls, after))

    def follow(self, after: str = "", patience: float = PATIENCE) -> Iterator[Message]:
        """The same without end: taken up again where it broke off. Unavailable when no agent answers for so long."""
        return follow(self._calls, after, patience)


def connect(
    url: str = "", *, token: str = "", dir: Path | None = None, project: str = "", seconds: float = SECONDS
) -> Client:
    """The agent that `intertie` would talk to: as told here, else by $INTERTIE_URL and $INTERTIE_TOKEN, cli.toml, or
    this machine's own agent (`client.place`)."""
    flags = Flags(url=url, token=token, dir=dir, project=project)
    return Client(find(flags, os.environ), seconds)
