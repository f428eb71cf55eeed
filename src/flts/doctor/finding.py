"""One thing that was looked at, in words: what was found, whether it is well, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from flts.errors import FltsError, Transient, without_credentials

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """about: what was looked at; found and mend: a line each; unreachable: it is wrong for lack of an answer."""

    about: str
    state: State
    found: str
    mend: str = ""
    unreachable: bool = False


def ok(about: str, found: str) -> Finding:
    """As it should be."""
    return Finding(about, "ok", _line(found))


def warning(about: str, found: str, mend: str) -> Finding:
    """It works, and may not be what was meant."""
    return Finding(about, "warning", _line(found), mend)


def wrong(about: str, found: str, mend: str) -> Finding:
    """Something will not work."""
    return Finding(about, "wrong", _line(found), mend)


def unanswered(about: str, found: str, mend: str) -> Finding:
    """Something did not answer."""
    return Finding(about, "wrong", _line(found), mend, unreachable=True)


def refused(about: str, error: FltsError, mend: str) -> Finding:
    """Something does not work, by the error it ended in."""
    return Finding(about, "wrong", _line(str(error)), mend, unreachable=isinstance(error, Transient))


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing is wrong, 3 where a backend did not answer, 1 otherwise."""
    bad = [finding for finding in findings if finding.state == "wrong"]
    return 0 if not bad else 3 if any(finding.unreachable for finding in bad) else 1


def _line(text: str) -> str:
    """On one line."""
    return without_credentials(" ".join(text.split()))
