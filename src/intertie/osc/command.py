"""What the commands share: the client, errors in OpenStackClient's way, and values that it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from osc_lib import exceptions
from osc_lib.cli import format_columns
from osc_lib.command import command

from intertie.client import Client
from intertie.model.errors import IntertieError

T = TypeVar("T")

API_NAME = "intertie"
Rows = tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]
"""What a Lister gives: the heads, and the rows."""
Shown = tuple[tuple[str, ...], tuple[Any, ...]]
"""What a ShowOne gives: names, and values."""
Columns = dict[str, Callable[[T], Any]]
"""Head → what stands below it."""


@contextmanager
def told() -> Iterator[None]:
    """An error of ours as `openstack` tells errors: its words, what would help, and exit code 1."""
    try:
        yield
    except IntertieError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise exceptions.CommandError(f"{error.detail} [{error.code}]{hint}") from error


class Ours(command.Command):
    """A command that has a client, and whose errors are told."""

    def run(self, parsed_args: argparse.Namespace) -> int:
        with told():
            return super().run(parsed_args)

    @property
    def client(self) -> Client:
        # The manager has an attribute for each plug-in.
        found = getattr(self.app.client_manager, API_NAME)
        assert isinstance(found, Client)
        return found


class Lister(Ours, command.Lister):
    """A table."""


class ShowOne(Ours, command.ShowOne):
    """One thing, a line for each of its facts."""


class Command(Ours):
    """Says nothing when all went well."""


def table(items: Iterable[T], columns: Columns[T]) -> Rows:
    return tuple(columns), [tuple(of(each) for of in columns.values()) for each in items]


def shown(view: object) -> Shown:
    """All fields of a view, in their order by name, as the API calls them."""
    names = sorted(each.name for each in fields(view))  # type: ignore[arg-type]
    return tuple(name.rstrip("_") for name in names), tuple(printed(getattr(view, name)) for name in names)


def printed(value: Any) -> Any:
    """A value of a view as a column: `-f json` gets its parts, a table their words."""
    plain = plainly(value)
    if isinstance(plain, dict):
        return format_columns.DictColumn(plain)
    if isinstance(plain, list):
        of_dicts = bool(plain) and all(isinstance(each, dict) for each in plain)
        return format_columns.ListDictColumn(plain) if of_dicts else format_columns.ListColumn(plain)
    return plain


def plainly(value: Any) -> Any:
    """As JSON has it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): plainly(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plainly(each) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        return {each.name.rstrip("_"): plainly(getattr(value, each.name)) for each in fields(value)}
    return str(value)


def words(values: Sequence[object]) -> format_columns.ListColumn:
    return format_columns.ListColumn([str(each) for each in values])
