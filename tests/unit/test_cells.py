"""Attachments that name a cell of a cloud in the place of a site."""

from __future__ import annotations

from dataclasses import replace

import pytest

from intertie.model.bodies import Attachment, SiteBody
from intertie.model.errors import Refused
from intertie.planning.cells import at_sites
from intertie.planning.enrol import site_draft
from intertie.planning.trust import site_body
from tests.unit.paper import Paper, Site


def says(site: Site, **facts: str) -> None:
    body = site_body(site.table, site.name)
    assert isinstance(body, SiteBody)
    site.write(site_draft(site.table, replace(body, **facts)))  # type: ignore[arg-type]


@pytest.fixture
def paper() -> Paper:
    paper = Paper("nantes-a", "nantes-b", "lyon", "rennes")
    says(paper["nantes-a"], cloud="nantes", cell="a")
    says(paper["nantes-b"], cloud="nantes", cell="b")
    paper.settle()
    return paper


def sites(paper: Paper, *wanted: Attachment) -> list[str]:
    return [a.site for a in at_sites(paper["nantes-a"].table, wanted)]


def test_a_cell_is_the_site_that_says_it_is_it(paper: Paper) -> None:
    wanted = [Attachment(site="nantes", cell="a"), Attachment(site="nantes", cell="b"), Attachment(site="lyon")]
    assert sites(paper, *wanted) == ["nantes-a", "nantes-b", "lyon"]
    assert sites(paper, Attachment(site="nantes-b", cell="b")) == ["nantes-b"]


def test_two_cells_of_one_cloud_are_joined(paper: Paper) -> None:
    paper["nantes-a"].network("blue", "10.0.0.0/24")
    paper["nantes-b"].network("grey", "10.1.0.0/24")
    id = paper.vpn("nantes-a", "l3", "nantes/a:blue", "nantes/b:grey")
    paper.settle()
    record = paper["nantes-b"].table.get(id)
    assert record is not None
    assert record.header.names == ("nantes-a", "nantes-b")
    assert paper["nantes-b"].answer(id).network_name == "grey"


def test_what_no_site_is_or_two_are_is_refused_with_what_there_is(paper: Paper) -> None:
    with pytest.raises(Refused, match="nantes is a cloud of several cells") as cloud:
        sites(paper, Attachment(site="nantes"))
    assert "nantes/a, nantes/b" in cloud.value.hint
    with pytest.raises(Refused, match="nantes has no cell c") as unknown:
        sites(paper, Attachment(site="nantes", cell="c"))
    assert "nantes/a, nantes/b" in unknown.value.hint
    with pytest.raises(Refused, match="lyon has no cell c") as alone:
        sites(paper, Attachment(site="lyon", cell="c"))
    assert alone.value.hint == "name the site alone"
    says(paper["rennes"], cloud="nantes", cell="a")
    paper.settle()
    with pytest.raises(Refused, match="nantes-a and rennes both say"):
        sites(paper, Attachment(site="nantes", cell="a"))
    with pytest.raises(Refused, match="lyon has no cell"):
        sites(paper, Attachment(site="lyon", cell="a"))
