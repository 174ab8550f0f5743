"""When sites do not hear each other: what is told, and what follows. Beside it how it goes when all is well."""

from __future__ import annotations

from tests.federation.partitions.cell import Cell, later, look, never, now, retry

LOCAL: dict[str, Cell] = {
    "network-list": look("blue, db, spare"),
    "network-create": now(201, "attachable"),
    "network-delete": now(204),
    "gc-plan": look("none"),
    "host-list": look("late, web"),
    "host-create": now(201, "10.0.0.2", "Its address is from this site's own part of the range."),
    "host-delete": now(204),
    "site-invite": now(201, "a token"),
    "site-map": now(201, "guests of lyon acts as demo"),
    "site-mappings": look("demo of lyon acts as demo; demo of rennes acts as demo"),
    "site-forget": now(204, words="From then on nothing enters from lyon, and nothing is sent to it."),
    "site-leave": now(204),
    "site-leave-bound": never(
        409,
        "in-use",
        "nantes is a member of stretch",
        "delete these Vpns, or remove this site from them, first",
    ),
    "token-create": now(201, "a token, reader in demo"),
    "token-list": look("reader in demo"),
    "token-use": look("blue, db, spare", "Tokens are this site's own: nobody else is asked."),
    "token-revoke": now(204),
    "livez": look("ok"),
    "readyz": look("ok"),
    "metrics": look("all series"),
    "bundle": look("all parts"),
    "vpn-plan": look("no change", "Silence is no reason to change anything."),
}
"""What a site does by itself: whoever is silent."""

PLANS: dict[str, Cell] = {
    "vpn-create-plan": look(
        "~ network at nantes; + segment at nantes; + network at lyon; + segment at lyon; "
        "+ network at rennes; + segment at rennes",
        "A plan is made from records: nobody is asked.",
    ),
    "vpn-update-plan": look(
        "~ network at nantes; ~ segment at nantes; - segment at lyon; - network at lyon; ~ segment at rennes",
        "Made from records: nobody is asked.",
    ),
    "vpn-delete-plan": look(
        "- segment at nantes; ~ network at nantes; - segment at lyon; - network at lyon; - segment at rennes; "
        "- network at rennes",
        "Made from records: nobody is asked.",
    ),
}

OWNER_UP = never(
    409,
    "owner-up",
    "nantes, the home of stretch, answers",
    "ask it for the change (vpn update, vpn delete); to become the home though it is there: --force",
    "It is asked, and not only when it was heard last.",
)

WELL: dict[str, Cell] = {
    **LOCAL,
    **PLANS,
    "vpn-list": look("stretch ready"),
    "vpn-show": look("phase ready, all accepted; all pairs ready"),
    "vpn-create-l2": now(201, "phase waiting: no answer yet from lyon, rennes", "Every member answers at once."),
    "vpn-create-l2-wait": now(
        201,
        "phase waiting: no probe crossed lately between nantes–lyon, nantes–rennes, lyon–rennes",
        "All have accepted; it is ready as soon as probes cross.",
    ),
    "vpn-create-any": now(
        201, "phase waiting: no probe crossed lately between nantes–lyon, nantes–rennes, lyon–rennes"
    ),
    "vpn-create-l3-wait": now(
        201, "phase waiting: no probe crossed lately between nantes–lyon, nantes–rennes, lyon–rennes"
    ),
    "vpn-update": now(200, "phase ready"),
    "vpn-update-add": now(200, "phase waiting: no probe crossed lately between nantes–lyon, rennes–lyon"),
    "vpn-update-remove": now(200, "phase ready"),
    "vpn-propose": now(202, "phase ready, pending: waiting for nantes"),
    "vpn-propose-wait": now(200, "phase ready"),
    "vpn-delete": now(202, "phase deleting: lyon has not answered; rennes has not answered"),
    "vpn-delete-wait": now(204),
    "vpn-delete-force": now(204),
    "vpn-delete-elsewhere": now(204),
    "vpn-delete-force-elsewhere": now(204),
    "vpn-adopt": OWNER_UP,
    "vpn-adopt-force": now(200, "owner rennes, phase ready"),
    "vpn-verify": look(
        "ok true; lyon→nantes, lyon→rennes, nantes→lyon, nantes→rennes, rennes→lyon, rennes→nantes cross"
    ),
    "site-list": look("lyon up, rennes up"),
    "site-show": look("nantes; vxlan ok"),
    "site-join": now(201, "metz pending"),
    "site-approve": now(200, "metz pending"),
}

NOT_RUN = "its pairs were not run; forwarding may go on"


def no_agent(here: str, there: str) -> str:
    why = f"the agent of {there} answers nothing: does it run? if so, check the path to it"
    return f"{here}→{there} broken at agent: {why}"


def not_asked(site: str) -> str:
    return f"{site}→? broken at agent: {site} did not answer: {NOT_RUN}"


WAITS = "It is made here and at whoever answers, who exchange packets at once; the silent join when they return."
NO_QUORUM = "No majority is needed. " + WAITS
GONE_LATER = (
    "Forwarding goes on until the silent have let go, which they do when they return. `--force` does not wait."
)

PEER_SILENT: dict[str, Cell] = {
    **LOCAL,
    **PLANS,
    "vpn-list": look("stretch degraded"),
    "vpn-show": look(
        "phase degraded, all accepted; nantes–lyon unknown, lyon–rennes unknown",
        "Silence is `unknown`, not down: forwarding goes on, to and from lyon too.",
    ),
    "vpn-create-l2": later(201, "phase waiting: no answer yet from lyon, rennes", WAITS),
    "vpn-create-l2-wait": later(201, "phase waiting: no answer yet from lyon", WAITS),
    "vpn-create-any": later(
        201, "phase waiting: no answer yet from lyon", "As with `all`: silence is no refusal. " + WAITS
    ),
    "vpn-create-l3-wait": later(201, "phase waiting: no answer yet from lyon", WAITS),
    "vpn-update": now(
        200,
        "phase degraded: no probe crossed lately between nantes–lyon, lyon–rennes",
        "It is so at once; lyon hears of it when it returns, and is not cut off meanwhile.",
    ),
    "vpn-update-add": later(
        200,
        "phase waiting: no answer yet from lyon",
        "The others go on as they were; lyon joins when it returns.",
    ),
    "vpn-update-remove": later(
        200,
        "phase degraded: no probe crossed lately between nantes–lyon, lyon–rennes",
        "Forwarding to lyon goes on until it has let go, which it does when it returns. "
        "If it never will: `site forget lyon`.",
    ),
    "vpn-propose": now(
        202,
        "phase degraded: no probe crossed lately between nantes–lyon, lyon–rennes, pending: waiting for nantes",
        "The home is there: it applies the change at once.",
    ),
    "vpn-propose-wait": now(200, "phase degraded: no probe crossed lately between nantes–lyon, lyon–rennes"),
    "vpn-delete": later(202, "phase deleting: lyon has not answered; rennes has not answered", GONE_LATER),
    "vpn-delete-wait": later(202, "phase deleting: lyon has not answered", GONE_LATER),
    "vpn-delete-force": now(
        204, words="It ends at all who hear it; lyon ends it when it returns. Nothing in use is destroyed."
    ),
    "vpn-delete-elsewhere": later(202, "phase deleting: lyon has not answered", GONE_LATER),
    "vpn-delete-force-elsewhere": now(204, words="As at the home."),
    "vpn-adopt": OWNER_UP,
    "vpn-adopt-force": now(
        200,
        "owner rennes, phase degraded: no probe crossed lately between nantes–lyon, lyon–rennes",
        "An operator's word: it needs nobody's consent. The old home yields.",
    ),
    "vpn-verify": look(
        "ok false; nantes→rennes, rennes→nantes cross; "
        + "; ".join([not_asked("lyon"), no_agent("nantes", "lyon"), no_agent("rennes", "lyon")]),
        "Every pair that can be run is run, and the others say why not.",
    ),
    "site-list": look("lyon silent, rennes up"),
    "site-show": look("nantes; vxlan ok"),
    "site-join": retry(
        503,
        "owner-silent",
        "metz did not answer",
        words="The site that invited is the silent one. The invitation stays good until its time is over.",
    ),
    "site-approve": later(200, "metz pending", "Here it is trusted from now on; the two meet when it returns."),
}

SILENT_HOME = "nantes, the home of stretch, does not answer"
ADOPT = "try later; if nantes is gone for good: intertie vpn adopt stretch"
WITHDRAWN = "The proposal is taken back; one that was under way already may still come about: look, then ask again."

OWNER_SILENT: dict[str, Cell] = {
    **LOCAL,
    "host-create": now(201, "10.0.0.172", "Its address is from this site's own part of the range."),
    "site-leave-bound": never(
        409,
        "in-use",
        "rennes is a member of stretch",
        "delete these Vpns, or remove this site from them, first",
    ),
    "vpn-create-plan": look(
        "~ network at rennes; + segment at rennes; + network at nantes; + segment at nantes; "
        "+ network at lyon; + segment at lyon"
    ),
    "vpn-delete-plan": PLANS["vpn-delete-plan"],
    "vpn-list": look("stretch degraded"),
    "vpn-show": look(
        "phase degraded, all accepted; nantes–lyon unknown, nantes–rennes unknown",
        "The members need no home to forward: that goes on, to and from nantes too.",
    ),
    "vpn-create-l2": later(
        201, "phase waiting: no answer yet from nantes, lyon", "A Vpn of your own site's. " + WAITS
    ),
    "vpn-create-l2-wait": later(201, "phase waiting: no answer yet from nantes", WAITS),
    "vpn-create-any": later(201, "phase waiting: no answer yet from nantes", WAITS),
    "vpn-create-l3-wait": later(201, "phase waiting: no answer yet from nantes", WAITS),
    "vpn-propose": later(
        202,
        "phase degraded: no probe crossed lately between nantes–lyon, nantes–rennes, pending: waiting for nantes",
        "A proposal waits for the home, for ten minutes.",
    ),
    "vpn-propose-wait": retry(503, "owner-silent", SILENT_HOME, ADOPT, WITHDRAWN),
    "vpn-delete-elsewhere": retry(503, "owner-silent", SILENT_HOME, ADOPT, WITHDRAWN),
    "vpn-delete-force-elsewhere": retry(
        503, "owner-silent", SILENT_HOME, ADOPT, "Force skips ports in use, not the home. " + WITHDRAWN
    ),
    "vpn-adopt": now(
        200,
        "owner rennes, phase degraded: no probe crossed lately between nantes–lyon, nantes–rennes",
        "rennes is the home from now on, and can change and delete it. nantes yields when it returns.",
    ),
    "vpn-adopt-force": now(
        200,
        "owner rennes, phase degraded: no probe crossed lately between nantes–lyon, nantes–rennes",
        "rennes is the home from now on, and can change and delete it. nantes yields when it returns.",
    ),
    "vpn-verify": look(
        "ok false; lyon→rennes, rennes→lyon cross; "
        + "; ".join([no_agent("lyon", "nantes"), not_asked("nantes"), no_agent("rennes", "nantes")])
    ),
    "site-list": look("lyon up, nantes silent"),
    "site-mappings": look("demo of lyon acts as demo; demo of nantes acts as demo"),
    "site-show": look("rennes; vxlan ok"),
    "site-join": now(201, "metz pending", "Another site than the silent one invited."),
    "site-approve": now(200, "metz pending"),
}

_LOST_PAIRS = (
    "nantes–lyon, nantes–brest, nantes–quimper, lyon–rennes, lyon–brest, lyon–quimper, rennes–brest, rennes–quimper, "
    "brest–quimper"
)
_LOST = f"phase degraded: no probe crossed lately between {_LOST_PAIRS}"
_GONE = ("brest", "lyon", "quimper")

MAJORITY_GONE: dict[str, Cell] = {
    **LOCAL,
    "vpn-create-plan": look(
        "; ".join(
            f"{'~' if s == 'nantes' else '+'} network at {s}; + segment at {s}"
            for s in ("nantes", "lyon", "rennes", "brest", "quimper")
        )
    ),
    "vpn-update-plan": look(
        f"{PLANS['vpn-update-plan'].told.says}; ~ segment at brest; ~ segment at quimper",
        "Made from records: nobody is asked.",
    ),
    "vpn-delete-plan": look(
        "- segment at nantes; ~ network at nantes; "
        + "; ".join(f"- segment at {s}; - network at {s}" for s in ("lyon", "rennes", "brest", "quimper"))
    ),
    "vpn-list": look("stretch degraded"),
    "vpn-show": look(
        "phase degraded, all accepted; " + ", ".join(f"{pair} unknown" for pair in _LOST_PAIRS.split(", ")),
        "nantes–rennes is ready: the two go on.",
    ),
    "vpn-create-l2": later(201, "phase waiting: no answer yet from lyon, rennes, brest, quimper", NO_QUORUM),
    "vpn-create-l2-wait": later(201, "phase waiting: no answer yet from lyon, brest, quimper", NO_QUORUM),
    "vpn-create-any": later(201, "phase waiting: no answer yet from lyon, brest, quimper", NO_QUORUM),
    "vpn-create-l3-wait": later(201, "phase waiting: no answer yet from lyon, brest, quimper", NO_QUORUM),
    "vpn-update": now(200, _LOST, "No majority is needed: the home alone decides. The others hear of it later."),
    "vpn-update-add": PEER_SILENT["vpn-update-add"],
    "vpn-update-remove": later(200, _LOST, PEER_SILENT["vpn-update-remove"].words),
    "vpn-propose": now(202, f"{_LOST}, pending: waiting for nantes", "The home is there: it applies it at once."),
    "vpn-propose-wait": now(200, _LOST),
    "vpn-delete": later(
        202,
        "phase deleting: lyon has not answered; rennes has not answered; brest has not answered; "
        "quimper has not answered",
        GONE_LATER,
    ),
    "vpn-delete-wait": later(
        202,
        "phase deleting: lyon has not answered; brest has not answered; quimper has not answered",
        GONE_LATER,
    ),
    "vpn-delete-force": now(204, words="It ends at all who hear it; the others end it when they return."),
    "vpn-delete-elsewhere": later(
        202,
        "phase deleting: lyon has not answered; brest has not answered; quimper has not answered",
        GONE_LATER,
    ),
    "vpn-delete-force-elsewhere": now(204, words="As at the home."),
    "vpn-adopt": OWNER_UP,
    "vpn-adopt-force": now(200, f"owner rennes, {_LOST}", "An operator's word, not a vote."),
    "vpn-verify": look(
        "ok false; nantes→rennes, rennes→nantes cross; "
        + "; ".join(
            sorted(
                [*(not_asked(s) for s in _GONE)] + [no_agent(here, s) for here in ("nantes", "rennes") for s in _GONE]
            )
        )
    ),
    "site-list": look("brest silent, lyon silent, quimper silent, rennes up"),
    "site-mappings": look(
        "; ".join(f"demo of {site} acts as demo" for site in ("brest", "lyon", "quimper", "rennes"))
    ),
    "site-show": look("nantes; vxlan ok"),
    "site-join": now(201, "metz pending", "Only the site that invited is needed."),
    "site-approve": now(200, "metz pending"),
}

_NOBODY = "phase degraded: no probe crossed lately between nantes–lyon, nantes–rennes, lyon–rennes"

ALONE: dict[str, Cell] = {
    **LOCAL,
    **PLANS,
    "vpn-list": look("stretch degraded"),
    "vpn-show": look(
        "phase degraded, all accepted; nantes–lyon unknown, nantes–rennes unknown, lyon–rennes unknown",
        "What the data plane holds stays, and carries packets as soon as there is a path.",
    ),
    "vpn-create-l2": later(
        201, "phase waiting: no answer yet from lyon, rennes", "Its number is from this site's own block. " + WAITS
    ),
    "vpn-create-l2-wait": later(201, "phase waiting: no answer yet from lyon, rennes", WAITS),
    "vpn-create-any": later(201, "phase waiting: no answer yet from lyon, rennes", WAITS),
    "vpn-create-l3-wait": later(201, "phase waiting: no answer yet from lyon, rennes", WAITS),
    "vpn-update": now(200, _NOBODY, "It is so at the home at once; the others hear of it later."),
    "vpn-update-add": PEER_SILENT["vpn-update-add"],
    "vpn-update-remove": later(200, _NOBODY, PEER_SILENT["vpn-update-remove"].words),
    "vpn-propose": later(202, f"{_NOBODY}, pending: waiting for nantes", OWNER_SILENT["vpn-propose"].words),
    "vpn-propose-wait": OWNER_SILENT["vpn-propose-wait"],
    "vpn-delete": later(202, "phase deleting: lyon has not answered; rennes has not answered", GONE_LATER),
    "vpn-delete-wait": later(202, "phase deleting: lyon has not answered; rennes has not answered", GONE_LATER),
    "vpn-delete-force": now(204, words="It ends here at once, at the others when they hear of it."),
    "vpn-delete-elsewhere": OWNER_SILENT["vpn-delete-elsewhere"],
    "vpn-delete-force-elsewhere": OWNER_SILENT["vpn-delete-force-elsewhere"],
    "vpn-adopt": now(
        200,
        f"owner rennes, {_NOBODY}",
        "It is so here at once, and everywhere when the others hear of it: be sure that the home is gone for good.",
    ),
    "vpn-adopt-force": now(
        200,
        f"owner rennes, {_NOBODY}",
        "It is so here at once, and everywhere when the others hear of it: be sure that the home is gone for good.",
    ),
    "vpn-verify": look(
        "ok false; none crosses; "
        + "; ".join(
            [
                not_asked("lyon"),
                no_agent("nantes", "lyon"),
                no_agent("nantes", "rennes"),
                not_asked("rennes"),
            ]
        )
    ),
    "site-list": look("lyon silent, rennes silent"),
    "site-show": look("nantes; vxlan ok"),
    "site-join": retry(
        503, "owner-silent", "metz did not answer", words="The invitation stays good until its time is over."
    ),
    "site-approve": later(200, "metz pending", "Here it is trusted from now on; the two meet later."),
}
