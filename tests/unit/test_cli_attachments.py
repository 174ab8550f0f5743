"""`SITE[/CELL][:NETWORK]`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.cli.problem import Exit
from intertie.client.attaching import attachment, attachments
from intertie.model.bodies import Attachment
from intertie.model.errors import Refused
from tests.unit.cli_run import Runner
from tests.unit.cli_site import Answer, Site, member, vpn

NAME = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("lyon", {"site": "lyon"}),
        ("lyon:blue", {"site": "lyon", "network": "blue"}),
        ("lyon/edge-1", {"site": "lyon", "cell": "edge-1"}),
        ("lyon/edge-1:blue", {"site": "lyon", "cell": "edge-1", "network": "blue"}),
        ("lyon:lyon.01k0x5", {"site": "lyon", "network": "lyon.01k0x5"}),
    ],
)
def test_its_forms(text: str, meant: dict[str, Any]) -> None:
    assert attachment(text) == Attachment(**meant)


@given(NAME, st.none() | NAME, st.none() | NAME)
def test_every_form_is_read_back(site: str, cell: str | None, network: str | None) -> None:
    text = site + (f"/{cell}" if cell else "") + (f":{network}" if network else "")
    assert attachment(text) == Attachment(site=site, cell=cell or "", network=network or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "attachment '' names no site"),
        (":blue", "attachment ':blue' names no site"),
        ("/cell:blue", "attachment '/cell:blue' names no site"),
        ("lyon:", "attachment 'lyon:' has nothing after ':', where the network goes"),
        ("lyon/", "attachment 'lyon/' has nothing after '/', where the cell goes"),
        ("lyon/:blue", "attachment 'lyon/:blue' has nothing after '/', where the cell goes"),
        ("lyon:a:b", "attachment 'lyon:a:b' has too many parts"),
        ("lyon/a/b", "attachment 'lyon/a/b' has too many parts"),
        ("lyon:a/b", "attachment 'lyon:a/b' has too many parts"),
        ("lyon,rennes", "attachment 'lyon,rennes' has a blank or a comma in it"),
        ("lyon: blue", "attachment 'lyon: blue' has a blank or a comma in it"),
    ],
)
def test_what_is_none_says_why(cli: Runner, text: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        attachment(text)
    assert refused.value.detail == words
    assert "SITE[/CELL][:NETWORK]" in refused.value.hint
    said = cli("vpn", "create", "x", "--kind", "l2", "-a", "nantes:blue", "-a", text)
    assert (said.code, said.err.splitlines()[0]) == (Exit.USAGE, f"error: {words}")


@given(st.text(max_size=30))
def test_any_text_is_an_attachment_or_refused(text: str) -> None:
    try:
        found = attachment(text)
    except Refused:
        return
    assert found.site
    assert text == found.site + (f"/{found.cell}" * bool(found.cell)) + (f":{found.network}" * bool(found.network))


def test_their_order_is_kept(cli: Runner, site: Site) -> None:
    """The first of an L2 Vpn names the network that is stretched."""
    assert [a.site for a in attachments(["z", "a", "m"])] == ["z", "a", "m"]
    site.on("POST", "/v1/vpns", Answer(vpn(member("z")), 201))
    cli("vpn", "create", "x", "--kind", "l2", "-a", "z:blue", "-a", "a/c", "-a", "m:red")
    assert site.last("POST").body == {
        "name": "x",
        "kind": "l2",
        "require": "all",
        "attachments": [
            {"site": "z", "network": "blue"},
            {"site": "a", "cell": "c"},
            {"site": "m", "network": "red"},
        ],
    }
