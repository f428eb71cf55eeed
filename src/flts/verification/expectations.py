"""What a team wants to hold: a claim, an operator and a value, from a TOML file; each becomes a claim of the report."""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import Any

from flts.contracts.errors import UsageError, nearest
from flts.verification.claims import FALSE, NOT_RECORDED, TRUE, Check, Engine, Found, SectionChecks, instead_of
from flts.verification.evidence import RunEvidence

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
EQUALITY = frozenset({"==", "!="})
SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|min|h)")
KEYS = ("claim", "operator", "value")
EXAMPLE = 'expect = [{ claim = "train.*.duration", operator = "<", value = "1 min" }]'


@dataclass(frozen=True)
class Expectation:
    """claim: the id of one, or a pattern with `*`; value: a number, a text, or a duration such as `1 min`."""

    claim: str
    operator: str
    value: int | float | str

    @property
    def wanted(self) -> int | float | str:
        """The value as claims have it: durations in seconds."""
        found = DURATION.fullmatch(self.value) if isinstance(self.value, str) else None
        return float(found[1]) * SECONDS[found[2]] if found else self.value

    def __str__(self) -> str:
        return f"{self.claim} {self.operator} {self.value}"


def read_expectations(file: Path) -> list[Expectation]:
    """The expectations of a file. Raises UsageError that names what does not fit."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(file, f"it cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise _invalid(file, f"it is not TOML: {error}") from None
    entries = table.get("expect")
    if not isinstance(entries, list) or not entries or set(table) != {"expect"}:
        raise _invalid(file, f"it must hold a list 'expect' and nothing else, such as {EXAMPLE}")
    return [_expectation(file, place, entry) for place, entry in enumerate(entries, 1)]


def expectations(engine: Engine, wanted: Sequence[Expectation]) -> SectionChecks:
    """One claim for each claim that an expectation means. Raises UsageError for one that means none."""
    checks = []
    for place, expectation in enumerate(wanted, 1):
        means = [name for name in engine.ids if fnmatchcase(name, expectation.claim)]
        if not means:
            raise UsageError(
                f"--expect names the claim '{expectation.claim}', which this run does not have;"
                f" {instead_of(expectation.claim, engine.ids)}",
                code="claim-unknown",
                claim=expectation.claim,
            )
        checks += [_check(engine, expectation, place, name) for name in means]
    return SectionChecks("expect", "Expectations", checks, "--expect FILE")


def _check(engine: Engine, expectation: Expectation, place: int, name: str) -> Check:
    def look(_: RunEvidence) -> Found:
        claim = engine.claim(name)
        if claim.state != TRUE:
            return Found(claim.state if claim.state != FALSE else NOT_RECORDED, reason=f"{name} is {claim.state}")
        try:
            holds = OPERATORS[expectation.operator](claim.found, expectation.wanted)
        except TypeError:
            return Found(FALSE, expectation.value, claim.found, f"{name} cannot be compared with {expectation.value}")
        if holds:
            return Found(TRUE, expectation.value, claim.found)
        reason = f"{name} is {claim.found}, expected {expectation.operator} {expectation.value}"
        return Found(FALSE, expectation.value, claim.found, reason)

    says = f"{name} {expectation.operator} {expectation.value}"
    return Check(f"expect.{place}.{name}", f"Expected: {says}", look, rests_on=(name,))


def _expectation(file: Path, place: int, entry: Any) -> Expectation:
    where = f"entry {place} of 'expect'"
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        raise _invalid(file, f"{where} must have exactly {', '.join(KEYS)}")
    if not isinstance(entry["operator"], str) or entry["operator"] not in OPERATORS:
        raise _invalid(file, f"{where}: unknown operator '{entry['operator']}'; {nearest('', OPERATORS)}")
    value = entry["value"]
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not isinstance(entry["claim"], str):
        raise _invalid(file, f"{where}: 'claim' is a text, and 'value' a number or a text")
    if isinstance(value, float) and not isfinite(value):
        raise _invalid(file, f"{where}: {value} is no number to compare with")
    expectation = Expectation(entry["claim"], entry["operator"], value)
    if isinstance(expectation.wanted, str) and entry["operator"] not in EQUALITY:
        units = ", ".join(SECONDS)
        raise _invalid(file, f"{where}: '{value}' is no number and no duration, such as 30 s; units: {units}")
    return expectation


def _invalid(file: Path, what: str) -> UsageError:
    return UsageError(f"--expect {file}: {what}", code="expectations-invalid", file=str(file))
