"""A planted bug: a mistake that somebody could make in the protocol, switched on to see who notices.

A plant replaces functions of the real agent, planning and store modules inside this process, wherever they are known
by name, and puts the very same objects back afterwards. The product knows nothing of it. A plant names its target
by where it stands; if that is gone, switching it on fails, so that no plant can become harmless in silence.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

Mistake = Callable[[Any], Any]
"""What stands there → what the mistake makes of it. Called anew each time the plant is switched on."""
PACKAGE = "intertie"


class NoSuchTarget(LookupError):
    """The plant's target has been renamed or removed: the plant must follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One mistake. `apply` switches it on for as long as its context lasts."""

    name: str
    what: str
    """The mistake, in one sentence."""
    where: str
    """"module.function" or "module.Class.method", below `intertie`."""
    expects: tuple[str, ...]
    """Invariants and rules ("I1", "rule 10") of which at least one should notice."""
    profiles: tuple[str, ...]
    """Workloads that should find it, the likeliest first."""
    mistakes: Mapping[str, Mistake]
    """Target → mistake; `where` is the first of them."""

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Switched on; the outermost last mistake first when it is switched off."""
        with ExitStack() as stack:
            for where, mistake in self.mistakes.items():
                stack.enter_context(replaced(where, mistake))
            yield


@contextmanager
def replaced(where: str, mistake: Mistake) -> Iterator[None]:
    """`where` is what `mistake` makes of it, under every name by which the package's modules know it."""
    owner, name, right = target(where)
    wrong = mistake(right)
    if wrong is right:
        raise NoSuchTarget(f"the mistake at {where} changes nothing")
    _exchange(owner, name, right, wrong)
    try:
        yield
    finally:
        # Also in modules that were first imported meanwhile.
        _exchange(owner, name, wrong, right)


def target(where: str) -> tuple[object, str, Any]:
    """(owner, attribute, what stands there); a class's own entry, not what looking it up would make of it."""
    parts = [PACKAGE, *where.split(".")]
    for n in range(len(parts) - 1, 1, -1):
        owner: object = _module(".".join(parts[:n]))
        if owner is None:
            continue
        for part in parts[n:-1]:
            owner = vars(owner).get(part)
            if owner is None:
                raise NoSuchTarget(f"{where}: there is no {part}")
        if parts[-1] not in vars(owner):
            break
        return owner, parts[-1], vars(owner)[parts[-1]]
    raise NoSuchTarget(f"there is no {where}")


def _module(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


def _exchange(owner: object, name: str, old: Any, new: Any) -> None:
    if not isinstance(owner, ModuleType):
        setattr(owner, name, new)
        return
    for module in [m for n, m in sys.modules.items() if n == PACKAGE or n.startswith(PACKAGE + ".")]:
        for known_as in [n for n, value in vars(module).items() if value is old]:
            setattr(module, known_as, new)


def planted(
    where: str,
    *,
    expects: tuple[str, ...],
    profiles: tuple[str, ...],
    also: Mapping[str, Mistake] | None = None,
) -> Callable[[Mistake], Plant]:
    """Makes a plant of a mistake: its name is the function's, what it is stands in its docstring."""

    def made(mistake: Mistake) -> Plant:
        words = " ".join((mistake.__doc__ or "").split())
        return Plant(
            name=mistake.__name__.replace("_", "-"),
            what=words,
            where=where,
            expects=expects,
            profiles=profiles,
            mistakes={where: mistake, **(also or {})},
        )

    return made


def always(value: Any) -> Mistake:
    """A function that no longer looks: it says `value` whatever it is asked."""

    def mistake(right: Any) -> Any:
        def wrong(*_: Any, **__: Any) -> Any:
            return value

        return wrong

    return mistake
