"""When something is wrong with the user's own site, or a peer was forgotten: what is told, and what follows."""

from __future__ import annotations

from dataclasses import replace

from tests.federation.partitions.cell import Cell, already, later, look, never, now, retry, unseen
from tests.federation.partitions.cells_links import LOCAL, OWNER_UP, PLANS, WELL, no_agent, not_asked

# ── Disk full ──────────────────────────────────────────────────────────────────────────────────────────────

_FULL = retry(
    503,
    "storage",
    "the store cannot be written: the disk is full",
    "nothing of the change was kept; see to the disk, then try again",
    "Nothing is promised that is not durable: nothing happens, here or elsewhere. Forwarding goes on.",
)

DISK_FULL: dict[str, Cell] = {
    **{id: cell if cell.told.code or cell.ends.name == "LOOK" else _FULL for id, cell in WELL.items()},
    "vpn-adopt": replace(_FULL, again=False),
    "site-join": retry(
        _FULL.told.status,
        _FULL.told.code,
        _FULL.told.says,
        _FULL.told.hint,
        "The invitation is spent, but for this site: the same token serves again once there is space.",
    ),
}

# ── Clock wrong ────────────────────────────────────────────────────────────────────────────────────────────

CLOCK_AHEAD: dict[str, Cell] = {
    **WELL,
    "vpn-show": look(
        "phase ready, all accepted; all pairs ready", "Health and silence are timed by a clock that nobody sets."
    ),
}

_LATE = "it came too late: it was good until TIME, and at nantes it is TIME"
_CLOCK = "ask again; if that was no delay, the clock of rennes or of nantes is wrong"
_TOO_LATE = retry(
    412, "stale", _LATE, _CLOCK, "A change that is asked of another site is good for ten minutes, by your clock."
)

CLOCK_BEHIND: dict[str, Cell] = {
    **CLOCK_AHEAD,
    "vpn-propose": Cell(
        told=now(202, "phase ready, pending: waiting for nantes").told,
        ends=never(0, "", "").ends,
        words="The home finds it too late and does nothing. Ask with `--wait` to be told.",
        again=True,
    ),
    "vpn-propose-wait": _TOO_LATE,
    "vpn-delete-elsewhere": _TOO_LATE,
    "vpn-delete-force-elsewhere": _TOO_LATE,
}

# ── A site without its past ────────────────────────────────────────────────────────────────────────────────


def _waits(site: str, for_: str) -> Cell:
    return retry(
        503,
        "storage",
        f"{site} lost its store and waits for {for_} to give back what they hold of its records",
        "try again when site list shows them up; forget those that are gone for good",
        "It does not know what it promised since: it promises, gives out and ends nothing until its peers have told.",
    )


_HOME = _waits("nantes", "lyon, rennes")
_MEMBER = _waits("rennes", "lyon, nantes")
_BLIND = unseen(_HOME.told.status, _HOME.told.code, _HOME.told.says, _HOME.told.hint, _HOME.words)
_SEEN_NOTHING = "phase waiting: no probe crossed lately between nantes–lyon, nantes–rennes, lyon–rennes"
_PROPOSED_OLD = (
    "What it was meant for is older than what stands: when the home hears of it, it refuses it as stale. "
    "Look again, then ask again."
)

BACKUP: dict[str, Cell] = {
    **LOCAL,
    "vpn-list": look("stretch waiting", "As in the backup, until the peers have told what is newer."),
    "vpn-show": look(
        "phase waiting, all accepted; nantes–lyon unknown, nantes–rennes unknown, lyon–rennes unknown",
        "Forwarding goes on as it was before the restore.",
    ),
    "gc-plan": look("kept: host", "A host may be running something: it goes by force alone."),
    "vpn-plan": look("no change; orphans, kept: host", "What is here and in no record stays: it is shown, and kept."),
    "vpn-create-plan": _BLIND,
    "vpn-create-l2": _HOME,
    "vpn-create-l2-wait": _HOME,
    "vpn-create-any": _HOME,
    "vpn-create-l3-wait": _HOME,
    "vpn-update-plan": _BLIND,
    "vpn-update": _HOME,
    "vpn-update-add": _HOME,
    "vpn-update-remove": _HOME,
    "vpn-delete-plan": PLANS["vpn-delete-plan"],
    "vpn-delete": _HOME,
    "vpn-delete-wait": _HOME,
    "vpn-delete-force": _HOME,
    "vpn-propose": Cell(
        told=now(202, f"{_SEEN_NOTHING}, pending: waiting for nantes").told,
        ends=_HOME.ends,
        words=_PROPOSED_OLD,
        again=True,
    ),
    "vpn-propose-wait": retry(
        503,
        "owner-silent",
        "nantes, the home of stretch, does not answer",
        "try later; if nantes is gone for good: intertie vpn adopt stretch",
    ),
    "vpn-delete-elsewhere": retry(
        503,
        "owner-silent",
        "nantes, the home of stretch, does not answer",
        "try later; if nantes is gone for good: intertie vpn adopt stretch",
    ),
    "vpn-delete-force-elsewhere": retry(
        503,
        "owner-silent",
        "nantes, the home of stretch, does not answer",
        "try later; if nantes is gone for good: intertie vpn adopt stretch",
    ),
    "vpn-adopt": replace(_MEMBER, again=False, words="The home may be there, once it can be asked."),
    "vpn-adopt-force": _MEMBER,
    "vpn-verify": look(
        "ok false; none crosses; "
        + "; ".join(
            [not_asked("lyon"), no_agent("nantes", "lyon"), no_agent("nantes", "rennes"), not_asked("rennes")]
        )
    ),
    "host-list": look("web", "Hosts made since the backup run on, and are in no list: `status` shows them."),
    "host-create": _HOME,
    "network-create": now(201, "attachable", "You choose its prefix: nothing is given out."),
    "site-list": look("lyon silent, rennes silent"),
    "site-show": look("nantes, recovering; vxlan ok"),
    "site-invite": _HOME,
    "site-join": retry(503, "owner-silent", "metz did not answer"),
    "site-approve": later(200, "metz pending", "Here it is trusted from now on; the two meet later."),
    "site-forget": now(204, words="Who is gone for good is waited for no longer."),
    "site-leave": _HOME,
    "site-leave-bound": replace(_HOME, again=False),
    "token-list": look("reader in demo", "As in the backup: revoke again what was revoked since."),
    "token-use": look("blue, db, spare", "As in the backup: revoke again what was revoked since."),
}

_LOOKS_GONE = "Tokens are this site's own, and were lost: make new ones on the site's own socket."
_HOST_LOST = never(
    404,
    "not-found",
    "no host web",
    "intertie host list",
    "Its record was nobody else's and is lost; the host runs on as an orphan, which `status` shows.",
)

EMPTY_STORE: dict[str, Cell] = {
    **BACKUP,
    "vpn-list": look("none", "Every Vpn forwards on. Peers give the records back as soon as they are reached."),
    "vpn-show": replace(_BLIND, words="Not 404: it may well be one of those that are to come back."),
    "vpn-verify": _BLIND,
    "vpn-delete-plan": _BLIND,
    "vpn-plan": look(
        "no change; orphans, kept: host, host, network, network, network, segment",
        "All that is here and in no record is shown as an orphan, and kept.",
    ),
    "vpn-propose": _MEMBER,
    "vpn-propose-wait": _MEMBER,
    "vpn-delete-elsewhere": _MEMBER,
    "vpn-delete-force-elsewhere": _MEMBER,
    "network-delete": never(
        409,
        "in-use",
        "network idle is an orphan: its record was lost with this site's database",
        "intertie network create idle 10.6.0.0/24 takes it up again; intertie gc --plan shows what would remove it",
        "Records of this site's own networks and hosts went to nobody: they do not come back.",
    ),
    "gc-plan": look(
        "would go: network; kept: host, host, network, network, segment",
        "What peers may still explain is kept, and what is in use.",
    ),
    "host-list": look("none", "Hosts run on as orphans; their records were this site's own and are lost."),
    "host-create": replace(
        _HOME, again=False, words="It might give an address that another site holds: first the peers must have told."
    ),
    "host-delete": _HOST_LOST,
    "site-mappings": look("none", "Mappings are this site's own, and were lost: make them again."),
    "site-list": look("lyon pending, rennes pending", "Whom it trusted it knows from a file beside its keys."),
    "site-approve": replace(
        never(
            404,
            "not-found",
            "nobody introduced metz",
            "intertie site list shows who waits for approval",
            "Peers introduce it again when they are reached; then ask again.",
        ),
        again=False,
    ),
    "token-list": look("none", _LOOKS_GONE),
    "token-use": unseen(
        401, "unauthenticated", "the token is not known here", "intertie token create, at this site", _LOOKS_GONE
    ),
    "token-revoke": already("not-found", "no token ID", "intertie token list", _LOOKS_GONE),
}

# ── A peer that was forgotten ──────────────────────────────────────────────────────────────────────────────

_STRANGER = never(
    422,
    "unknown-site",
    "nantes has not pinned lyon",
    "intertie site list; then site invite, join or approve",
    "A Vpn names only sites that trust each other.",
)
_STILL_NAMED = "phase degraded: no probe crossed lately between lyon–rennes"
_NOT_HEARD = "lyon hears of it from nobody: what it holds is its operator's to end. Its packets are let in nowhere."

PEER_FORGOTTEN: dict[str, Cell] = {
    **WELL,
    "vpn-list": look("stretch degraded"),
    "vpn-show": look(
        "phase degraded, all accepted; nantes–lyon unknown",
        "Between nantes and lyon nothing passes any more; rennes, which has not forgotten it, still forwards to it.",
    ),
    "vpn-create-plan": unseen(422, "unknown-site", _STRANGER.told.says, _STRANGER.told.hint),
    "vpn-create-l2": _STRANGER,
    "vpn-create-l2-wait": _STRANGER,
    "vpn-create-any": _STRANGER,
    "vpn-create-l3-wait": _STRANGER,
    "vpn-update": replace(_STRANGER, words="Remove lyon in the same change, and it is made."),
    "vpn-update-add": _STRANGER,
    "vpn-update-remove": now(200, "phase ready", "It is out at once: a forgotten site is not waited for."),
    "vpn-propose": now(202, f"{_STILL_NAMED}, pending: waiting for nantes"),
    "vpn-propose-wait": now(200, _STILL_NAMED),
    "vpn-delete": now(202, "phase deleting: lyon has not answered; rennes has not answered", _NOT_HEARD),
    "vpn-delete-wait": now(204, words=_NOT_HEARD),
    "vpn-delete-force": now(204, words=_NOT_HEARD),
    "vpn-delete-elsewhere": now(204),
    "vpn-delete-force-elsewhere": now(204),
    "vpn-adopt": OWNER_UP,
    "vpn-adopt-force": now(200, f"owner rennes, {_STILL_NAMED}", "lyon does not hear of its new home."),
    "vpn-verify": look(
        "ok false; nantes→rennes, rennes→lyon, rennes→nantes cross; "
        "lyon→? broken at agent: lyon is no peer of nantes: its pairs were not run; forwarding may go on; "
        "nantes→lyon broken at records: lyon is no peer of nantes: intertie site list"
    ),
    "site-list": look("lyon forgotten, rennes up"),
    "site-map": never(404, "not-found", "lyon is no peer of nantes", "intertie site list"),
    "site-forget": already("not-found", "lyon is no peer of nantes"),
    "site-approve": now(200, "metz pending", "rennes, which is still trusted, vouches for it as well."),
}
