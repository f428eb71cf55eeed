"""One finding of the doctor in words: what was checked, its state, what was found and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from flts.contracts.errors import FltsError, MachineFailed, Transient, without_credentials

State = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class Diagnosis:
    """A finding. about: what was checked; found, mend: a line each; unreachable: wrong because nothing answered."""

    about: str
    state: State
    found: str
    mend: str = ""
    unreachable: bool = False


def ok(about: str, found: str) -> Diagnosis:
    """As it should be."""
    return Diagnosis(about, "ok", _line(found))


def warning(about: str, found: str, mend: str) -> Diagnosis:
    """It works, but may not be intended."""
    return Diagnosis(about, "warning", _line(found), _line(mend))


def wrong(about: str, found: str, mend: str) -> Diagnosis:
    """Something will not work."""
    return Diagnosis(about, "wrong", _line(found), _line(mend))


def unanswered(about: str, found: str, mend: str) -> Diagnosis:
    """Something did not answer."""
    return Diagnosis(about, "wrong", _line(found), _line(mend), unreachable=True)


def refused(about: str, error: FltsError, mend: str) -> Diagnosis:
    """Something does not work; the error says why. Where this machine lacks something, it also says what to do."""
    mend = "" if isinstance(error, MachineFailed) else mend
    return Diagnosis(about, "wrong", _line(str(error)), _line(mend), unreachable=isinstance(error, Transient))


def exit_code(findings: Iterable[Diagnosis]) -> int:
    """0 where nothing is wrong, 3 where a backend did not answer, 1 otherwise."""
    bad = [finding for finding in findings if finding.state == "wrong"]
    return 0 if not bad else 3 if any(finding.unreachable for finding in bad) else 1


def _line(text: str) -> str:
    """The text on one line, without credentials."""
    return without_credentials(" ".join(text.split()))
