"""What starts something, what may not be loaded, and the shell's completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from intertie import __version__
from intertie.cli import start
from intertie.cli.app import BRANCHES, VERBS, first_word, wants_json
from intertie.cli.problem import Exit
from intertie.model.errors import Conflict
from tests.unit.cli_run import Runner
from tests.unit.cli_site import PEERS, SITE, Answer, items, serving, vpn


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The start-up functions of the real program are replaced by notes of how they were called."""
    found: list[tuple[Any, ...]] = []
    module = ModuleType("started_by_the_tests")
    module.init_site = lambda **named: found.append(("init", named))  # type: ignore[attr-defined]
    module.run_agent = lambda *given: found.append(("run", *given))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(start, "INIT", f"{module.__name__}:init_site")
    monkeypatch.setattr(start, "RUN", f"{module.__name__}:run_agent")
    return found


def test_init(cli: Runner, calls: list[Any], tmp_path: Path) -> None:
    said = cli(
        *("init", "--name", "nantes", "--dir", str(tmp_path), "--location", "47.2,-1.5", "--underlay", "192.0.2.1")
    )
    assert said.code == Exit.OK
    assert f"intertie agent run --dir {tmp_path}" in said.err
    assert calls == [
        (
            "init",
            {
                "name": "nantes",
                "dir": tmp_path,
                "location": (47.2, -1.5),
                "underlay": "192.0.2.1",
                "more": {"store": "", "cell": ""},
            },
        )
    ]


def test_init_in_the_directory_of_the_environment(
    cli: Runner, calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERTIE_DIR", str(tmp_path / "env"))
    said = cli("init", "--name", "nantes", "-o", "json")
    assert json.loads(said.out) == {"name": "nantes", "dir": str(tmp_path / "env")}
    assert calls == [
        (
            "init",
            {
                "name": "nantes",
                "dir": tmp_path / "env",
                "location": None,
                "underlay": None,
                "more": {"store": "", "cell": ""},
            },
        )
    ]


@pytest.mark.parametrize("place", ["47.2", "north,west", "1,2,3"])
def test_init_nowhere(cli: Runner, calls: list[Any], place: str) -> None:
    assert cli("init", "--name", "nantes", "--location", place).code == Exit.USAGE
    assert calls == []


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Conflict("this is a site already", code="name-taken", hint="choose another"), 4, "this is a site already"),
        (PermissionError(13, "Permission denied", "/var/x"), 1, "/var/x: Permission denied"),
        (ValueError("'here' does not appear to be an IPv4 or IPv6 address"), 2, "'here' does not appear"),
    ],
)
def test_what_init_may_meet(
    cli: Runner, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, words: str
) -> None:
    def fails(**_: object) -> None:
        raise error

    module = ModuleType("started_by_the_tests")
    module.init_site = fails  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(start, "INIT", f"{module.__name__}:init_site")
    said = cli("init", "--name", "nantes")
    assert said.code == code
    assert said.err.startswith(f"error: {words}")


def test_agent_run(cli: Runner, calls: list[Any], tmp_path: Path) -> None:
    assert cli("agent", "run", "--dir", str(tmp_path), "--fd", "7").code == Exit.OK
    assert cli("--dir", str(tmp_path), "agent", "run").code == Exit.OK
    assert calls == [("run", tmp_path, 7), ("run", tmp_path, None)]


def test_the_targets_are_there() -> None:
    assert callable(start.load(start.INIT))
    assert callable(start.load(start.RUN))
    assert isinstance(start.load(start.DEMO), typer.Typer)


def test_the_demo_gets_its_words_as_they_are(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[list[str], bool]] = []
    demo_app = typer.Typer(invoke_without_command=True)

    @demo_app.callback()
    def demo(context: typer.Context, check: bool = typer.Option(False, "--check")) -> None:
        if context.invoked_subcommand is None:
            found.append(([], check))
            raise typer.Exit(3)

    @demo_app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
    def shell(words: list[str]) -> None:
        found.append((words, False))

    module = ModuleType("started_by_the_tests")
    module.demo_app = demo_app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(start, "DEMO", f"{module.__name__}:demo_app")
    assert cli("demo", "--check").code == 3
    assert cli("demo", "shell", "web", "ls", "-l", "--", "-o", "json").code == Exit.OK
    assert found == [([], True), (["web", "ls", "-l", "--", "-o", "json"], False)]
    assert cli("demo", "--nonsense").code == Exit.USAGE


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def test_the_program_and_the_module_are_the_same() -> None:
    for words in (("-m", "intertie"), (str(Path(sys.executable).with_name("intertie")),)):
        done = python(*words, "version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"intertie {__version__}\n", "")
        assert python(*words, "nothing").returncode == 2


def test_version_loads_nothing_heavy() -> None:
    """Start-up is what a program can do about waiting; each of these costs more than all the rest."""
    heavy = ("httpx", "rich", "fastapi", "uvicorn", "sqlalchemy", "cryptography", "pyroute2", "asyncio")
    done = python(
        "-c",
        "import sys; from intertie.cli.app import run; run(['version']);"
        f"print([m for m in sys.modules if m in {heavy!r} or m.startswith('intertie.')])",
    )
    loaded = done.stdout.splitlines()[-1]
    assert not [each for each in heavy if f"'{each}'" in loaded]
    assert not [
        each
        for each in ("agent", "api", "main", "demo", "store", "drivers", "client")
        if f"intertie.{each}" in loaded
    ]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ((), ""),
        (("vpn", "list"), "vpn"),
        (("--project", "demo", "vpn"), "vpn"),
        (("--url=http://x", "-o", "json", "status"), "status"),
        (("--project", "demo", "--help"), ""),
        (("--project",), ""),
    ],
)
def test_the_branch_that_words_name(words: tuple[str, ...], first: str) -> None:
    assert first_word(words) == first


def test_every_branch_is_on_the_tree(cli: Runner) -> None:
    said = cli("--help")
    listed = [line.split()[0] for line in said.out.split("Commands:\n")[1].splitlines() if line[2] != " "]
    assert sorted(listed) == sorted(BRANCHES)
    for word in BRANCHES:
        if word != "demo":
            usage = cli(word, "--help").out.splitlines()[0]
            assert usage.startswith(f"Usage: intertie {word} ")
            assert ("COMMAND" in usage) is (word not in VERBS)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("-o", "json"), True),
        (("--output", "json"), True),
        (("--output=json",), True),
        (("-ojson",), True),
        (("-o", "table"), False),
        (("json",), False),
        ((), False),
    ],
)
def test_json_is_seen_in_words_that_are_not_understood(words: tuple[str, ...], wanted: bool) -> None:
    assert wants_json(words) is wanted


# ── Completion ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Runner, shell: str) -> None:
    said = cli("completion", shell)
    assert said.code == Exit.OK
    assert f"_INTERTIE_COMPLETE=complete_{shell}" in said.out


def completed(environment: dict[str, str], *words: str) -> list[str]:
    """What bash offers after `intertie WORDS`, the last of them unfinished."""
    program = Path(sys.executable).with_name("intertie")
    script = (
        f'eval "$({program} completion bash)"; COMP_WORDS=("{program}" "$@"); COMP_CWORD=$#;'
        f' _intertie_completion {program}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.split()


@pytest.mark.requires("bash")
def test_a_shell_completes_verbs_and_names(cli: Runner, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "INTERTIE_DIR": str(tmp_path)}
    assert completed(environment, "vp") == ["vpn"]
    assert completed(environment, "vpn", "ver") == ["verify"]
    assert completed(environment, "vpn", "create", "x", "--kind", "") == ["l2", "l3"]
    assert completed(environment, "vpn", "show", "") == [], "a silent agent offers nothing"
    with serving() as site:
        environment["INTERTIE_URL"] = site.url
        site.on("GET", "/v1/vpns", items(vpn(), vpn(name="bluer"), vpn(name="red")))
        site.on("GET", "/v1/site", Answer(SITE))
        site.on("GET", "/v1/peers", items(*PEERS))
        site.on("GET", "/v1/networks", items({"name": "blue", "prefixes": []}))
        assert completed(environment, "vpn", "show", "bl") == ["blue", "bluer"]
        assert completed(environment, "vpn", "create", "x", "-a", "") == ["nantes", "lyon", "rennes"]
        assert completed(environment, "site", "show", "l") == ["lyon"]
        assert completed(environment, "host", "create", "x", "--network", "b") == ["blue"]
