"""What a search for rules has found, as tables and as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table

from fieldkit.trials.questions import Place
from fieldkit.trials.rules_grid import COARSE
from fieldkit.trials.tune_search import Found
from fieldkit.trials.tuning import Score, cautions
from fieldkit.world.tally import Outcome

#: More changes than these are only in the document.
SHOWN_CHANGES: Final = 20


def tables(found: Found, places: Sequence[Place]) -> Iterator[RenderableType]:
    """For people."""
    yield _rules(found)
    yield _scores(found)
    if found.changes:
        yield _changes(found)
    if len(found.changes) > SHOWN_CHANGES:
        yield f"… and {len(found.changes) - SHOWN_CHANGES} more: --json has all of them."
    names = ", ".join(f"{place.name} ({len(place.questions)})" for place in places)
    yield f"{len(found.tuning.rules)} sets of rules tried on: {names}"
    yield from (f"[bold yellow]Caution:[/bold yellow] {line}" for line in told_cautions(found))


def told_cautions(found: Found) -> list[str]:
    """What a reader must know, in whole sentences."""
    return cautions(found.tuning, found.rules, found.validation)


def _rules(found: Found) -> Table:
    table = Table("rule", "in use", "found", title="Rules")
    for name in COARSE:
        before, after = (getattr(rules, name) for rules in (found.tuning.usual, found.rules))
        mark = "" if before == after else "[bold]"
        table.add_row(name, f"{before:g}", f"{mark}{after:g}")
    return table


def _scores(found: Found) -> Table:
    table = Table(
        *("", "questions", "wrong", "95 %", "not served", "95 %", "ambiguous"), title="Outcome"
    )
    rows: list[tuple[str, Score | None]] = [
        ("in use", found.tuning.score(found.tuning.usual)),
        ("found, same questions (training)", found.tuning.score(found.rules)),
        ("found, questions held back (validation)", found.validation),
    ]
    for name, score in rows:
        if score is not None:
            table.add_row(name, *_cells(score))
    return table


def _cells(score: Score) -> Iterator[str]:
    yield str(score.questions)
    yield str(score.wrong)
    yield _range(score.wrong_interval)
    yield str(score.unserved)
    yield _range(score.unserved_interval)
    yield str(score.ambiguous)


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.1%} - {interval[1]:.1%}"


def _changes(found: Found) -> Table:
    counted = Counter((change.before[0], change.after[0]) for change in found.changes)
    told = ", ".join(f"{number} {one} → {other}" for (one, other), number in counted.most_common())
    table = Table("payment or question", "lane", "before", "after", title=f"Changes: {told}")
    for change in found.changes[:SHOWN_CHANGES]:
        table.add_row(change.question, change.lane, _told(*change.before), _told(*change.after))
    return table


def _told(outcome: str, answer: str) -> str:
    """Of one that was chosen, whether rightly; the others say themselves what they are."""
    return f"{outcome}: {answer}" if outcome in (Outcome.RIGHT, Outcome.WRONG) else answer


def document(found: Found, places: Sequence[Place]) -> dict[str, Any]:
    """For programs."""
    tuning = found.tuning
    return {
        "usual": {"rules": asdict(tuning.usual), **tuning.score(tuning.usual).to_json()},
        "training": {"rules": asdict(found.rules), **tuning.score(found.rules).to_json()},
        "validation": found.validation.to_json() if found.validation else None,
        "folds": [
            {
                "rules": asdict(fold.rules),
                "training": fold.training.to_json(),
                "validation": fold.validation.to_json(),
            }
            for fold in found.folds
        ],
        "chance": tuning.chance(found.rules),
        "cautions": told_cautions(found),
        "tried": len(tuning.rules),
        "places": [{"name": place.name, "questions": len(place.questions)} for place in places],
        "changes": [asdict(change) for change in found.changes],
    }
