"""Which agent is asked, and in whose name: flags, environment, cli.toml, the operator's socket, the default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from intertie.cli.problem import Exit, exit_of
from intertie.client.place import DEFAULT_URL, Flags, Place, find
from intertie.model.errors import IntertieError
from tests.unit.cli_run import Runner
from tests.unit.cli_site import Answer, Site, items, problem, serving, serving_socket

NOTHING = Flags()


def config(home: Path, text: str) -> None:
    folder = home / ".config" / "intertie"
    folder.mkdir(parents=True)
    (folder / "cli.toml").write_text(text)


def found(home: Path, flags: Flags = NOTHING, /, **environment: str) -> Place:
    return find(flags, {"HOME": str(home), "INTERTIE_DIR": str(home / "none"), **environment})


def test_the_default(tmp_path: Path) -> None:
    assert found(tmp_path) == Place(url=DEFAULT_URL)
    assert DEFAULT_URL == "http://127.0.0.1:7575"


def test_flags_before_environment_before_file(tmp_path: Path) -> None:
    config(tmp_path, 'url = "http://file:1"\ntoken = "of-file"\nproject = "of-file"\n')
    env = {"INTERTIE_URL": "http://env:1", "INTERTIE_TOKEN": "of-env", "INTERTIE_PROJECT": "of-env"}
    flags = Flags(url="http://flag:1/", token="of-flag", project="of-flag")
    assert found(tmp_path, flags, **env) == Place(url="http://flag:1", token="of-flag", project="of-flag")
    assert found(tmp_path, **env) == Place(url="http://env:1", token="of-env", project="of-env")
    assert found(tmp_path) == Place(url="http://file:1", token="of-file", project="of-file")
    assert found(tmp_path, INTERTIE_TOKEN="of-env").token == "of-env"


def test_the_files_token_goes_to_the_files_url_only(tmp_path: Path) -> None:
    config(tmp_path, 'url = "http://file:1"\ntoken = "of-file"\n')
    assert found(tmp_path, Flags(url="http://other:1")).token == ""
    assert found(tmp_path, INTERTIE_URL="http://other:1").token == ""
    assert found(tmp_path, Flags(url="http://file:1/")).token == "of-file"


def test_the_files_place_follows_xdg(tmp_path: Path) -> None:
    (tmp_path / "x" / "intertie").mkdir(parents=True)
    (tmp_path / "x" / "intertie" / "cli.toml").write_text('url = "https://xdg:1"\n')
    assert found(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "x")).url == "https://xdg:1"


@pytest.mark.parametrize("text", ["url = [1]", "colour = 'red'", "url = ", 'url = "file:///etc"'])
def test_a_file_that_says_nonsense_is_refused(tmp_path: Path, text: str) -> None:
    config(tmp_path, text)
    with pytest.raises(IntertieError) as refused:
        found(tmp_path)
    assert exit_of(refused.value) is Exit.USAGE


def test_a_socket_that_answers_comes_before_the_default(tmp_path: Path) -> None:
    with serving_socket(tmp_path / "api.sock"):
        here = found(tmp_path, INTERTIE_DIR=str(tmp_path))
        assert here.socket == tmp_path / "api.sock"
        # Somebody who says who he is, or where to go, is not the operator of this machine's site.
        assert found(tmp_path, INTERTIE_DIR=str(tmp_path), INTERTIE_TOKEN="t").socket is None
        assert found(tmp_path, INTERTIE_DIR=str(tmp_path), INTERTIE_URL="http://env:1").socket is None
    assert found(tmp_path, INTERTIE_DIR=str(tmp_path)).socket is None


def test_a_directory_that_is_typed_comes_before_the_environment(tmp_path: Path) -> None:
    with serving_socket(tmp_path / "api.sock"):
        here = found(tmp_path, Flags(dir=tmp_path), INTERTIE_URL="http://env:1", INTERTIE_TOKEN="of-env")
    assert (here.socket, here.token) == (tmp_path / "api.sock", "")


def test_a_socket_that_is_asked_for_must_answer(tmp_path: Path) -> None:
    with pytest.raises(IntertieError, match="no agent answers at") as refused:
        found(tmp_path, Flags(dir=tmp_path))
    assert exit_of(refused.value) is Exit.USAGE
    assert refused.value.hint == f"intertie agent run --dir {tmp_path}"


def test_over_the_socket_the_project_is_named_and_no_token(cli: Runner, tmp_path: Path) -> None:
    with serving_socket(tmp_path / "api.sock") as site:
        site.on("GET", "/v1/vpns", items())
        assert cli("vpn", "list", "--dir", str(tmp_path)).code == Exit.OK
        assert cli("--project", "lab", "vpn", "list", "--dir", str(tmp_path)).code == Exit.OK
    assert [a.headers["x-intertie-project"] for a in site.asked] == ["demo", "lab"]
    assert all("authorization" not in a.headers for a in site.asked)


def test_a_long_path_to_the_socket(cli: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's address has room for about a hundred octets; directories of tests are longer."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    monkeypatch.chdir(folder)
    with serving_socket(Path("api.sock")) as site:
        site.on("GET", "/v1/vpns", items())
        assert cli("vpn", "list", "--dir", str(folder)).code == Exit.OK


def test_over_tcp_the_token_is_a_bearer(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/vpns", items())
    assert cli("vpn", "list", "--token", "itk_x").code == Exit.OK
    assert cli("--token", "itk_early", "vpn", "list").code == Exit.OK
    assert cli("--token", "itk_early", "vpn", "list", "--token", "itk_late").code == Exit.OK
    assert [a.headers["authorization"] for a in site.asked] == ["Bearer itk_x", "Bearer itk_early", "Bearer itk_late"]
    assert all("x-intertie-project" not in a.headers for a in site.asked)


def test_a_typed_url_is_asked(cli: Runner, site: Site) -> None:
    with serving() as other:
        other.on("GET", "/v1/vpns", items())
        assert cli("vpn", "list", "--url", other.url).code == Exit.OK
    assert site.asked == []
    assert len(other.asked) == 1


def test_a_url_that_is_none(cli: Runner) -> None:
    said = cli("vpn", "list", "--url", "nantes:7575")
    assert (said.code, said.err.splitlines()[0]) == (Exit.USAGE, "error: 'nantes:7575' is no URL of an agent")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    cli: Runner, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    site.on("GET", "/v1/vpns", items())
    assert cli("vpn", "list").code == Exit.OK


def test_all_pages_are_one_list(cli: Runner, site: Site) -> None:
    hosts = [{"name": name, "address": "10.20.0.2"} for name in "abc"]
    pages = [Answer({"items": [host], "next": more}) for host, more in zip(hosts, ("m1", "m2", None), strict=True)]
    site.on("GET", "/v1/hosts", *pages)
    said = cli("host", "list", "-o", "json")
    assert json.loads(said.out) == {"items": hosts, "next": None}
    assert [a.query.get("marker") for a in site.asked] == [None, "m1", "m2"]


def test_a_problem_on_a_later_page_is_a_failure(cli: Runner, site: Site) -> None:
    site.on("GET", "/v1/hosts", Answer({"items": [], "next": "m"}), problem("storage", 503))
    assert cli("host", "list").code == Exit.FAILED
