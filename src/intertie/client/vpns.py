"""/v1/vpns: services between sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from intertie.client.calls import AT_ONCE, Answer, Calls, Request, Terms, segment
from intertie.client.errors import usage
from intertie.client.listing import Listing
from intertie.client.reading import Json, nothing, reader
from intertie.model.bodies import Attachment
from intertie.model.views import PendingVpn, PlanView, Verified, VpnRequest, VpnView

VERIFY_SECONDS = 120.0

Seen = Answer[VpnView]
"""A Vpn as it was looked at: a change is for that version, unless its terms name another."""


def read_vpn(told: Json) -> VpnView:
    """A PendingVpn where a change waits for the home, another site."""
    pending = isinstance(told, Mapping) and told.get("pending") is not None
    return reader(PendingVpn if pending else VpnView)(told)


def _read_ended(told: Json) -> VpnView | None:
    return None if told is None else read_vpn(told)


class Vpns:
    """The Vpns that this site is a member of."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, name: str = "") -> Listing[VpnView]:
        """All, or those of one name (there may be one in each project)."""
        return Listing(self._calls, "/v1/vpns", VpnView, **({"name": name} if name else {}))

    def get(self, id: str) -> Seen:
        """By id, or by name in the caller's project. Its `etag` is the version for If-Match."""
        return self._calls.ask(read_vpn, Request(path=f"/v1/vpns/{segment(id)}"))

    def find(self, wanted: str) -> Seen:
        """By id, or by a name that only one has. NotFound; Refused (usage) if several projects have one so called"""
        if "." in wanted:
            # A name is a DNS label; an id has its home's name before a dot.
            return self.get(wanted)
        found = [each for each in self.list(wanted).first() if each.name == wanted]
        if len(found) > 1:
            ids = ", ".join(f"{each.id} ({each.project})" for each in found)
            raise usage(f"several Vpns are called {wanted}", f"give an id: {ids}")
        # Who has none of that name is told so in the agent's words.
        return self.get(found[0].id if found else wanted)

    # ── Changing ───────────────────────────────────────────────────────────────────────────────────────────

    def create(self, wish: VpnRequest, terms: Terms = AT_ONCE) -> Seen:
        """With `terms.wait`, a refusal of any member is raised and leaves nothing behind."""
        return self._calls.ask(read_vpn, _request("POST", "/v1/vpns", _wish(wish), terms.headers(), wait=terms.wait))

    def plan_create(self, wish: VpnRequest) -> Answer[PlanView]:
        """What `create` would do, at every member. Its `base_version` as `terms.match` makes it that or nothing."""
        return self._plan("POST", "/v1/vpns", _wish(wish), {})

    def update(
        self, seen: Seen, attachments: Sequence[Attachment], *, name: str = "", terms: Terms = AT_ONCE
    ) -> Seen:
        """The whole list of members: who is new is added, who is missing leaves once its ports are free."""
        headers = terms.headers(seen.etag or "*")
        body = _change(seen, attachments, name)
        return self._calls.ask(read_vpn, _request("PUT", _path(seen), body, headers, wait=terms.wait))

    def plan_update(
        self, seen: Seen, attachments: Sequence[Attachment], *, name: str = "", terms: Terms = AT_ONCE
    ) -> Answer[PlanView]:
        return self._plan("PUT", _path(seen), _change(seen, attachments, name), terms.headers(seen.etag or "*"))

    def delete(self, seen: Seen, *, force: bool = False, terms: Terms = AT_ONCE) -> Answer[VpnView | None]:
        """The Vpn as it ends (a PendingVpn if its home, another site, is to say so), or None if it is gone."""
        request = _request(
            "DELETE", _path(seen), None, terms.headers(seen.etag or "*"), query=_forced(force), wait=terms.wait
        )
        return self._calls.ask(_read_ended, request)

    def plan_delete(self, seen: Seen, *, force: bool = False, terms: Terms = AT_ONCE) -> Answer[PlanView]:
        return self._plan("DELETE", _path(seen), None, terms.headers(seen.etag or "*"), _forced(force))

    def adopt(self, seen: Seen, *, force: bool = False) -> Seen:
        """Become the home of a Vpn whose home is lost for good; `force`: though it answers."""
        headers = Terms().headers(seen.etag or "*")
        return self._calls.ask(
            read_vpn, _request("POST", f"{_path(seen)}/adopt", None, headers, query=_forced(force))
        )

    def withdraw(self, id: str, proposal: str) -> None:
        """Ask no more for a change that waits for the home, another site."""
        path = f"/v1/vpns/{segment(id)}/proposals/{segment(proposal)}"
        self._calls.ask(nothing, Request(method="DELETE", path=path))

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────────────

    def verify(self, id: str) -> Answer[Verified]:
        """Send packets between all pairs now, full-size ones too."""
        request = Request(method="POST", path=f"/v1/vpns/{segment(id)}/verify", seconds=VERIFY_SECONDS)
        return self._calls.ask(reader(Verified), request)

    def _plan(
        self, method: str, path: str, body: Json, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Answer[PlanView]:
        asked = {**(query or {}), "plan": "true"}
        return self._calls.ask(reader(PlanView), _request(method, path, body, headers, query=asked))


def _request(
    method: str,
    path: str,
    body: Json,
    headers: Mapping[str, str],
    *,
    query: Mapping[str, str] | None = None,
    wait: float = 0.0,
) -> Request:
    return Request(method=method, path=path, body=body, query=query or {}, headers=headers, wait=wait)


def _path(seen: Seen) -> str:
    return f"/v1/vpns/{segment(seen.value.id)}"


def _forced(force: bool) -> dict[str, str]:
    return {"force": "true"} if force else {}


def _wish(wish: VpnRequest) -> Json:
    more = {"transport": wish.transport} if wish.transport else {}
    return {
        "name": wish.name,
        "kind": wish.kind.value,
        "attachments": _attachments(wish.attachments),
        "require": wish.require.value,
        **more,
    }


def _change(seen: Seen, attachments: Sequence[Attachment], name: str) -> Json:
    return {"name": name or seen.value.name, "attachments": _attachments(attachments)}


def _attachments(attachments: Sequence[Attachment]) -> list[Json]:
    return [
        {part: text for part, text in (("site", each.site), ("cell", each.cell), ("network", each.network)) if text}
        for each in attachments
    ]
