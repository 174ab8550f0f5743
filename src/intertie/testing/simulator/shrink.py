"""A failing story → the shortest one found that still breaks the same invariant.

Steps go first, many at a time (delta debugging); then whole sites; then waiting is cut out and times are rounded;
then what is left of each step is made simpler: fewer members, smaller amounts, plainer faults. This is repeated
until nothing helps any more or the budget of plays is spent. No chance is involved: the same story shrinks the
same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from intertie.testing.simulator.story import Step, Story, Verb

PLAYS = 400

PLAINER = {
    Verb.HALF_OPEN: Verb.DROP,
    Verb.RESET: Verb.DROP,
    Verb.LATE: Verb.DUPLICATE,
    Verb.LOSE_STORE: Verb.CRASH,
    Verb.RESTORE: Verb.CRASH,
    Verb.MASS_RESTART: Verb.CRASH,
}
"""Fault → a plainer one that may do."""


@dataclass(slots=True)
class Shrunk:
    """The shortest story found, and what it took."""

    story: Story
    plays: int
    spent: bool
    """The budget ended it: it might be shorter still."""


@dataclass(slots=True)
class _Search:
    """Tries stories, keeps the best. A story tried before is not played again."""

    best: Story
    breaks: Callable[[Story], bool]
    left: int
    plays: int = 0
    tried: set[Story] = field(default_factory=set)

    def better(self, story: Story) -> bool:
        """Whether `story` still breaks the invariant; it is the best one then."""
        if self.left <= 0 or story == self.best or story in self.tried:
            return False
        self.tried.add(story)
        self.left -= 1
        self.plays += 1
        if not self.breaks(story):
            return False
        self.best = story
        return True


def shrink(story: Story, breaks: Callable[[Story], bool], plays: int = PLAYS) -> Shrunk:
    """The shortest story found for which `breaks` is true, as it is taken to be for `story`."""
    search = _Search(best=story, breaks=breaks, left=plays)
    before = None
    while before != search.best and search.left > 0:
        before = search.best
        # What makes a play shorter comes before what only makes the story plainer.
        for simplify in (_fewer_steps, _fewer_sites, _plainer_times, _plainer_steps):
            simplify(search)
    return Shrunk(story=search.best, plays=search.plays, spent=search.left <= 0)


def _fewer_steps(search: _Search) -> None:
    """Long runs of steps first, then ever shorter ones; single steps until none can go."""
    size = max(len(search.best.steps) // 2, 1)
    while search.left > 0:
        gone = _without_runs(search, size)
        if size == 1 and not gone:
            return
        size = max(size // 2, 1)


def _without_runs(search: _Search, size: int) -> bool:
    """Whether a run of that many steps could go. Last ones first: what follows the violation is superfluous."""
    gone, end = False, len(search.best.steps)
    while end > 0:
        start = max(end - size, 0)
        gone |= search.better(search.best.without(frozenset(range(start, end))))
        end = start
    return gone


def _fewer_sites(search: _Search) -> None:
    for site in reversed(search.best.sites):
        if len(search.best.sites) > 1:
            search.better(without_site(search.best, site))


def without_site(story: Story, site: str) -> Story:
    """The story in which that site never was: nobody acts there, nobody speaks of it."""
    steps = tuple(
        replace(s, attachments=tuple(a for a in s.attachments if a.partition(":")[0] != site))
        for s in story.steps
        if site not in (s.site, s.other)
    )
    return replace(story, sites=tuple(s for s in story.sites if s != site), steps=steps)


def _plainer_steps(search: _Search) -> None:
    place = 0
    while place < len(search.best.steps) and search.left > 0:
        # From the start again after each success: what is simpler now may be simpler still.
        steps = search.best.steps
        if not any(search.better(_with(search.best, place, s)) for s in plainer(steps[place])):
            place += 1


def plainer(step: Step) -> Iterator[Step]:
    """Steps that are a little simpler than this one, the boldest first. Each chain of them ends."""
    for i in range(len(step.attachments)):
        yield replace(step, attachments=step.attachments[:i] + step.attachments[i + 1 :])
    for i in range(len(step.prefixes)):
        yield replace(step, prefixes=step.prefixes[:i] + step.prefixes[i + 1 :])
    if step.verb in PLAINER:
        yield replace(step, verb=PLAINER[step.verb])
    if step.verb is Verb.CRASH and step.point:
        yield replace(step, point="", amount=0.0)
    if step.require != "all":
        yield replace(step, require="all")
    if step.force:
        yield replace(step, force=False)
    for name in ("amount", "seconds"):
        for value in _smaller(getattr(step, name)):
            yield replace(step, **{name: value})  # type: ignore[arg-type]


def _smaller(value: float) -> Iterator[float]:
    """Numbers that are easier to read; an amount's sign is kept."""
    for easy in (0.0, 1.0, float(int(value / 2)), float(int(value)), round(value, 1)):
        if abs(easy) < abs(value):
            yield easy


def _plainer_times(search: _Search) -> None:
    """Waiting goes, everywhere at once if that does, else step by step; then times are rounded."""
    any(search.better(_hurried(search.best, longest)) for longest in (0.0, 1.0, 10.0))
    for i in range(len(search.best.steps)):
        before = search.best.steps[i - 1].at if i else 0.0
        gap = search.best.steps[i].at - before
        any(search.better(_sooner(search.best, i, gap - kept)) for kept in (0.0, 1.0, 10.0, gap / 2) if kept < gap)
    for digits in (0, 1, 2):
        if search.better(_rounded(search.best, digits)):
            break
    search.better(replace(search.best, delay=0.02))


def _hurried(story: Story, longest: float) -> Story:
    """Nobody waits longer than that between two steps."""
    now, before, steps = 0.0, 0.0, []
    for step in story.steps:
        now += min(step.at - before, longest)
        before = step.at
        steps.append(replace(step, at=round(now, 6)))
    return replace(story, steps=tuple(steps))


def _sooner(story: Story, first: int, seconds: float) -> Story:
    """The steps from `first` on come that much earlier."""
    late = tuple(replace(s, at=max(round(s.at - seconds, 6), 0.0)) for s in story.steps[first:])
    return replace(story, steps=story.steps[:first] + late)


def _rounded(story: Story, digits: int) -> Story:
    return replace(story, steps=tuple(replace(s, at=round(s.at, digits)) for s in story.steps))


def _with(story: Story, place: int, step: Step) -> Story:
    return replace(story, steps=(*story.steps[:place], step, *story.steps[place + 1 :]))
