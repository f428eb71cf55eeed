"""The promotions of a scope, newest first: which model, since when, by whom, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flts.contracts.errors import DamagedObject
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.server.page.shown import Moment, moment

NEWEST, PAGE = 8, 50
"""How many the first page shows, and each page of them."""
UNREADABLE = "its decision cannot be read"


@dataclass(frozen=True)
class PromotionRow:
    """One entry of the promotion log. serves: whether its model answers now."""

    number: int
    model: str
    score: str
    time: Moment
    actor: str
    how: str
    why: str
    serves: bool


@dataclass(frozen=True)
class Promotions:
    """Some entries. total: how many there are; older: the number to go on from, None where there are no more."""

    rows: Sequence[PromotionRow]
    total: int
    older: int | None


def promotions(
    entries: Sequence[LogEntry], total: int, serving: int, decide: Callable[[LogEntry], DecisionRecord]
) -> Promotions:
    """entries: those that are shown, newest first; serving: number of the entry that answers.

    decide: reads the decision behind an entry or raises DamagedObject.
    """
    rows = [_row(entry, serving, decide) for entry in entries]
    return Promotions(rows, total, rows[-1].number if rows and rows[-1].number > 1 else None)


def _row(entry: LogEntry, serving: int, decide: Callable[[LogEntry], DecisionRecord]) -> PromotionRow:
    champion = entry.champion
    score = "" if champion.score is None else f"{champion.score:.4f}"
    how = {"promote": "judge", "manual": "by hand", "rollback": f"rollback to {entry.restores}"}[entry.kind]
    why = _why(entry, decide)
    return PromotionRow(
        entry.number, champion.model, score, moment(entry.time), entry.actor, how, why, entry.number == serving
    )


def _why(entry: LogEntry, decide: Callable[[LogEntry], DecisionRecord]) -> str:
    match entry.kind:
        case "rollback":
            return _in_words(f"restores the champion of promotion {entry.restores}", entry.reason)
        case "manual":
            return _in_words("a person chose it, whatever the gates decided", entry.reason)
        case "promote":
            try:
                verdict = decide(entry).gates.get("champion")
            except DamagedObject:
                return UNREADABLE
            return verdict.reason if verdict else ""


def _in_words(what: str, reason: str | None) -> str:
    return f"{what}: {reason}" if reason else what
