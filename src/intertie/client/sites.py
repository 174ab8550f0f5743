"""/v1/peers, /v1/mappings, /v1/tokens: the other sites, what their projects may do here, and who may speak here."""

from __future__ import annotations

from collections.abc import Sequence

from intertie.client.calls import AT_ONCE, Answer, Calls, Request, Terms, segment
from intertie.client.listing import Listing
from intertie.client.reading import nothing, reader
from intertie.model.views import MappingView, PeerView, TokenView

MAY = ("l2", "l3", "read")


class Peers:
    """The sites that this one knows."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self) -> Listing[PeerView]:
        return Listing(self._calls, "/v1/peers", PeerView)

    def get(self, name: str) -> Answer[PeerView]:
        return self._calls.ask(reader(PeerView), Request(path=_peer(name)))

    def join(self, token: str) -> Answer[PeerView]:
        """Join the site that made the invitation; it is the answer."""
        return self._calls.ask(reader(PeerView), Request(method="POST", path="/v1/peers", body={"token": token}))

    def approve(self, name: str) -> Answer[PeerView]:
        """Trust a site that a peer introduced."""
        return self._calls.ask(reader(PeerView), Request(method="POST", path=f"{_peer(name)}/approve"))

    def forget(self, name: str) -> None:
        """From now on take nothing of it, and cut its connections."""
        self._calls.ask(nothing, Request(method="DELETE", path=_peer(name)))

    def map(self, name: str, theirs: str, ours: str, may: Sequence[str] = MAY) -> Answer[MappingView]:
        """Let a project of the peer act as one of ours, for `l2`, `l3`, `reserve`, `read`; () takes it back."""
        wish = {"theirs": theirs, "ours": ours, "may": [*may]}
        return self._calls.ask(reader(MappingView), Request(method="POST", path=f"{_peer(name)}/mappings", body=wish))

    def mappings(self, name: str = "") -> Listing[MappingView]:
        """Of one peer, or of all."""
        return Listing(self._calls, f"{_peer(name)}/mappings" if name else "/v1/mappings", MappingView)


class Tokens:
    """Who may speak to this site's API."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self) -> Listing[TokenView]:
        """Without their secrets."""
        return Listing(self._calls, "/v1/tokens", TokenView)

    def create(self, project: str, role: str = "member", terms: Terms = AT_ONCE) -> Answer[TokenView]:
        """Its text is in this answer, and nowhere else."""
        wish = {"project": project, "role": role}
        request = Request(method="POST", path="/v1/tokens", body=wish, headers=terms.headers())
        return self._calls.ask(reader(TokenView), request)

    def revoke(self, id: str) -> None:
        """It is refused from the next request on."""
        self._calls.ask(nothing, Request(method="DELETE", path=f"/v1/tokens/{segment(id)}"))


def _peer(name: str) -> str:
    return f"/v1/peers/{segment(name)}"
