"""A site whose store is in PostgreSQL is not saved in a file by this program, and says what saves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from intertie import backup
from intertie.model.errors import Refused
from intertie.site_file import init_site, read_site
from intertie.surroundings import AgentSurroundings

URL = "postgresql://operator:hunter2@db.example:5433/intertie?password=hunter3"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return init_site("lyon", tmp_path / "lyon", more={"store": URL})


def test_backup_says_what_saves_it_also_beside_an_old_sqlite_store(site: Path, tmp_path: Path) -> None:
    for there in ((), ("intertie.db",)):
        for name in there:
            (site / name).write_bytes(b"of before it moved")
        with pytest.raises(Refused) as refused:
            backup.save(site, tmp_path / "file")
        assert "pg_dump" in refused.value.hint
        assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("way", [backup.restore, backup.replace])
def test_no_file_takes_the_place_of_the_database(way: object, site: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in site.rglob("*") if p.is_file()}
    assert callable(way)
    with pytest.raises(Refused) as refused:
        way(tmp_path / "file", site)
    assert "pg_dump" in refused.value.hint
    assert {p.name: p.read_bytes() for p in site.rglob("*") if p.is_file()} == before


def test_a_bundle_names_the_database_without_its_password(site: Path) -> None:
    async def facts() -> object:
        raise NotImplementedError

    # Only settings and the store's size are asked for: neither needs the transport.
    of = AgentSurroundings(read_site(site), site / "intertie.db", None, tuple, facts)  # type: ignore[arg-type]
    assert of.settings()["store"] == "postgresql://db.example:5433/intertie"
    assert "hunter" not in str(of.settings())
    assert of.store().used is None
