"""The command line as a whole: the tree of commands, and where every failure becomes words and an exit code.

Only the branch of the tree that the words name is loaded and built; help, completion and words that name none get the
whole of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

import typer

from intertie import __version__
from intertie.cli.problem import Exit, as_json, as_text, exit_of, usage
from intertie.cli.session import DIR, LOCAL, OS_CLOUD, OUTPUT, PROJECT, TOKEN, URL, Given, Session, command
from intertie.cli.start import call, load
from intertie.model.errors import IntertieError

COMPLETE = "_INTERTIE_COMPLETE"
"""Set by the shell when it asks what may follow."""

BRANCHES = {
    "status": "intertie.cli.overview:app",
    "vpn": "intertie.cli.vpns:app",
    "site": "intertie.cli.sites:app",
    "network": "intertie.cli.networks:app",
    "host": "intertie.cli.networks:host_app",
    "token": "intertie.cli.tokens:app",
    "events": "intertie.cli.overview:app",
    "gc": "intertie.cli.overview:app",
    "bundle": "intertie.cli.bundle:app",
    "init": "intertie.cli.start:app",
    "agent": "intertie.cli.start:agent_app",
    "backup": "intertie.cli.backups:app",
    "restore": "intertie.cli.backups:app",
    "demo": "intertie.cli.start:app",
    "version": "intertie.cli.app:own",
    "completion": "intertie.cli.app:own",
}
"""The first word of a command → where it is defined. Groups of verbs are nouns, the others stand at the root."""

VERBS = ("status", "events", "gc", "bundle", "init", "backup", "restore", "demo", "version", "completion")

own = typer.Typer()


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def root(
    context: typer.Context,
    url: URL = None,
    token: TOKEN = None,
    dir: DIR = None,
    project: PROJECT = None,
    os_cloud: OS_CLOUD = None,
    output: OUTPUT = None,
) -> None:
    """Many independent clouds, one network."""
    context.obj = Given(url=url, token=token, dir=dir, project=project, os_cloud=os_cloud, output=output)


@command(own, "version", shared=LOCAL)
def version(session: Session) -> None:
    """The version of this program."""
    if session.screen.is_json:
        session.screen.document({"version": __version__})
    else:
        session.screen.line(f"intertie {__version__}")


@command(own, "completion", shared=())
def completion(session: Session, shell: Annotated[Shell, typer.Argument(help="Of this shell.")]) -> None:
    """A script that teaches a shell to complete our words.

    For example: eval "$(intertie completion bash)"
    """
    script = "typer.completion:get_completion_script"
    session.screen.line(str(call(script, prog_name="intertie", complete_var=COMPLETE, shell=shell.value)))


def tree(argv: Sequence[str]) -> typer.Typer:
    """The commands, as far as `argv` needs them."""
    app = typer.Typer(
        name="intertie",
        no_args_is_help=True,
        # Typer's own options for completion would stand first in every help text; `completion` does without them.
        add_completion=COMPLETE in os.environ,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    word = first_word(argv)
    wanted = [word] if word in BRANCHES else list(BRANCHES)
    for target in dict.fromkeys(BRANCHES[each] for each in wanted):
        branch = load(target)
        assert isinstance(branch, typer.Typer)
        nouns = [each for each in wanted if BRANCHES[each] == target and each not in VERBS]
        app.add_typer(branch, name=nouns[0] if nouns else None)
    return app


def first_word(argv: Sequence[str]) -> str:
    """The first word that is neither an option of the root nor its value; "" for none."""
    words: Iterator[str] = iter(argv)
    for word in words:
        if word in ("-h", "--help"):
            return ""
        if not word.startswith("-"):
            return word
        if word == "-o" or (word.startswith("--") and "=" not in word):
            next(words, "")
    return ""


def run(argv: Sequence[str]) -> int:
    """Run one command; its exit code. Failures are told on stderr, as JSON if the command was asked for JSON."""
    try:
        code = tree(argv)(list(argv), prog_name="intertie", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.OK
    except IntertieError as error:
        return _tell(error, argv)
    except typer.TyperException as error:
        return _misunderstood(error, argv)
    except typer.Abort:
        return Exit.FAILED
    except BrokenPipeError:
        # Whoever read has what it wanted. What is still buffered goes nowhere, without another complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


def _misunderstood(error: typer.TyperException, argv: Sequence[str]) -> int:
    """A usage error, on one line. A noun without a verb is answered with its help, which is its message."""
    said = error.format_message()
    if said.startswith("Usage: "):
        print(said, file=sys.stderr)
        return Exit.USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "intertie"
    return _tell(usage(" ".join(said.split()), f"{path} --help"), argv)


def _tell(error: IntertieError, argv: Sequence[str]) -> int:
    print(as_json(error) if wants_json(argv) else as_text(error), file=sys.stderr)
    return exit_of(error)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether -o json stands among the words, which may be beyond understanding otherwise."""
    pairs = set(pairwise(argv))
    return bool({("-o", "json"), ("--output", "json")} & pairs or {"-ojson", "--output=json"} & set(argv))
