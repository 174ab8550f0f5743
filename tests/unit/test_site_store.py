"""The store that a site's settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from intertie.model.errors import Refused
from intertie.serving import port_options
from intertie.site_file import init_site, read_site


def test_a_site_keeps_its_records_in_a_file_unless_told_otherwise(tmp_path: Path) -> None:
    site = read_site(init_site("nantes", tmp_path))
    assert site.store == ""
    assert len(port_options(site)) == 1, "a second agent is to be told that the port is taken"


@pytest.mark.parametrize(
    "url", ["postgresql://intertie@db/nantes", 'postgresql:///x?password=a"b\\c', "postgres://h/x"]
)
def test_the_address_of_a_store_comes_back_as_it_was_given(tmp_path: Path, url: str) -> None:
    site = read_site(init_site("nantes", tmp_path, more={"store": url}))
    assert site.store == url
    assert len(port_options(site)) == 2


def test_what_is_no_address_of_a_store_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="PostgreSQL") as caught:
        init_site("nantes", tmp_path / "site", more={"store": "mysql://db/nantes"})
    assert "postgresql://" in caught.value.hint
    assert not (tmp_path / "site").exists()


def test_nor_does_an_agent_start_with_it(tmp_path: Path) -> None:
    init_site("nantes", tmp_path)
    with (tmp_path / "site.toml").open("a") as settings:
        settings.write('store = "/var/lib/store.db"\n')
    with pytest.raises(Refused):
        read_site(tmp_path)
