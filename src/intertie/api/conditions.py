"""The headers by which a change says when and how (If-Match, Idempotency-Key, Prefer: wait), and the ETag back.

A Vpn's ETag is the version of its record. It says which wish the representation shows; what packets say (health, RTT)
moves on under the same tag. So it serves If-Match, which guards the wish, and nothing answers 304 to If-None-Match.
A plan's `base_version` is a tag as well: that version, and the plan that the change is to follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Header, Query, Response

from intertie.agent.vpns import LONGEST_WAIT
from intertie.model.errors import Refused
from intertie.model.views import VpnView
from intertie.planning.foresight import version_in

_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,6}(?:\.\d{1,3})?)"?', re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"|([^\s,"]+)')


def version_of(vpn: VpnView) -> str:
    """As `planning.foresight.version_text`, from what is shown."""
    incarnation, seq = vpn.version
    return f"{vpn.epoch}.{incarnation}.{seq}"


def tagged(response: Response, vpn: VpnView) -> VpnView:
    """Give the response the Vpn's ETag."""
    response.headers["ETag"] = f'"{version_of(vpn)}"'
    return vpn


def wait_of(prefer: Sequence[str]) -> float | None:
    """Seconds of the first `wait` in Prefer (RFC 7240, section 4.3), at most LONGEST_WAIT; None without one.

    Preferences that are not known or not well-formed are passed over, as section 2 asks.
    """
    for preference in ",".join(prefer).split(","):
        if found := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(float(found[1]), LONGEST_WAIT)
    return None


async def _wait(
    response: Response,
    prefer: Annotated[
        list[str] | None,
        Header(
            description=f"`wait=S`: hold the answer until it is settled, at most S seconds "
            f"(and at most {LONGEST_WAIT:g}).",
            examples=["wait=10"],
        ),
    ] = None,
) -> float:
    seconds = wait_of(prefer or [])
    if seconds is None:
        return 0.0
    response.headers["Preference-Applied"] = f"wait={seconds:g}"
    return seconds


def tags_of(text: str) -> tuple[str, ...]:
    """The versions that If-Match (RFC 9110, section 13.1.1) allows. A weak tag matches none: its W/ stays on it."""
    return tuple(f"{weak}{quoted or bare}" for weak, quoted, bare in _TAG.findall(text))


async def _if_match(
    if_match: Annotated[
        str | None,
        Header(
            description="The ETag of the version that the change is meant for, or the `base_version` of the plan "
            "that it is to follow; `*` for any."
        ),
    ] = None,
) -> tuple[str, ...]:
    return tags_of(if_match) if if_match is not None else ()


async def _required(tags: Annotated[tuple[str, ...], Depends(_if_match)]) -> tuple[str, ...]:
    if not tags:
        raise Refused(
            "a change says which version it is meant for",
            code="precondition-required",
            hint="If-Match: the ETag of GET /v1/vpns/ID, or * for whatever stands",
        )
    return tags


def base_of(tags: Sequence[str], vpn: VpnView) -> str:
    """The one of the versions that stands, or one that does not: the use case has the last word on it."""
    allowed = [t for t in tags if t == "*" or version_in(t) == version_of(vpn)]
    return (allowed or list(tags) or ["*"])[0]


def planned_as(tags: Sequence[str]) -> str:
    """The plan that a new thing is to follow: it has no version that could stand."""
    return next((t for t in tags if t != "*"), "*")


async def _key(
    idempotency_key: Annotated[
        str,
        Header(description="A text of your choice: the same request with the same key is carried out once."),
    ] = "",
) -> str:
    key = idempotency_key.strip().strip('"')
    if key and not _KEY.fullmatch(key):
        raise Refused("the Idempotency-Key is 1 to 200 printable characters without spaces", hint="a UUID serves")
    return key


Wait = Annotated[float, Depends(_wait)]
IfMatch = Annotated[tuple[str, ...], Depends(_required)]
MayMatch = Annotated[tuple[str, ...], Depends(_if_match)]
Key = Annotated[str, Depends(_key)]
Planned = Annotated[bool, Query(alias="plan", description="Only show what the change would do, at every member.")]
