"""`python -m tests.mutation [--keep] [--write]`: test every mutant, and demand a reason for each that survives.

Exits with 1 when a survivor has no reason in survivors.toml, when a reason has no survivor, or when less than 90 % of
`evaluate/` or of `lineage.py` is killed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

PAGE = ROOT / "docs" / "mutation.md"
REASONS = Path(__file__).with_name("survivors.toml")
START, END = "<!-- figures: written by python -m tests.mutation --write -->", "<!-- end of figures -->"
PARTS = {"evaluate/": "flts.evaluate.", "spec/lineage.py": "flts.spec.lineage."}
KILLED = {"killed", "timeout"}
GOAL = 0.9


@dataclass(frozen=True, order=True)
class Survivor:
    """A mutant that passes all tests: its function, and the changed lines."""

    function: str
    becomes: str


def main() -> int:
    """Run and print; with --write also replace the tables in docs/mutation.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--workers", default="2", help="number of mutants tested in parallel")
    parser.add_argument("--keep", action="store_true", help="continue from the results in mutants/")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    if not arguments.keep:
        shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    subprocess.run([_mutmut(), "run", "--max-children", arguments.workers], cwd=ROOT, check=True)
    statuses = dict(_statuses(_ask("results", "--all", "true")))
    reasons = _reasons()
    survivors = [_survivor(name, _ask("show", name)) for name in sorted(statuses) if statuses[name] not in KILLED]
    figures = "\n".join(_table(statuses))
    print(figures)
    if arguments.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(START)
        _, _, after = rest.partition(END)
        listed = "\n".join(_listed(survivors, reasons))
        PAGE.write_text(f"{before}{START}\n{figures}\n\n{listed}\n{END}{after}")
    faults = [f"survives without a reason: {survivor}" for survivor in survivors if survivor not in reasons]
    faults += [f"has a reason but does not survive: {survivor}" for survivor in sorted(set(reasons) - set(survivors))]
    faults += [f"{part}: less than {GOAL:.0%} killed" for part in PARTS if _share(statuses, part) < GOAL]
    print(*faults, sep="\n")
    return 1 if faults else 0


def _mutmut() -> str:
    return str(Path(sys.executable).with_name("mutmut"))


def _ask(*question: str) -> str:
    return subprocess.run([_mutmut(), *question], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _statuses(results: str) -> Iterator[tuple[str, str]]:
    """Names and statuses from lines like `flts.contracts.canonical.x_digest__mutmut_1: killed`."""
    yield from re.findall(r"^\s*(flts\.\S+): (.+)$", results, re.MULTILINE)


def _survivor(name: str, diff: str) -> Survivor:
    """From `flts.evaluate.score.xǁResampledǁlead__mutmut_1` and its diff."""
    function = name.partition("__mutmut_")[0].replace(".x_", ".").replace(".xǁ", ".").replace("ǁ", ".")
    lines = (line[1:].strip() for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++"))
    return Survivor(function, " ".join(lines))


def _reasons() -> dict[Survivor, str]:
    groups = tomllib.loads(REASONS.read_text())["survivors"]
    return {Survivor(group["function"], becomes): group["why"] for group in groups for becomes in group["becomes"]}


def _share(statuses: dict[str, str], part: str) -> float:
    killed = [status in KILLED for name, status in statuses.items() if name.startswith(PARTS[part])]
    return sum(killed) / len(killed)


def _table(statuses: dict[str, str]) -> Iterator[str]:
    """One row per module, then one per part; a mutant without a test counts as a survivor."""
    modules = {name: re.sub(r"\.x[_ǁ].*", "", name) for name in statuses}
    yield from (
        "| module | mutants | killed | of them by the time limit | survive | killed |",
        "|---|---|---|---|---|---|",
    )
    for module in sorted(set(modules.values())):
        yield _row(f"`{module}`", [status for name, status in statuses.items() if modules[name] == module])
    for part, prefix in PARTS.items():
        of_part = [status for name, status in statuses.items() if name.startswith(prefix)]
        yield _row(f"**`{part}`**", of_part)


def _row(title: str, statuses: Sequence[str]) -> str:
    count = Counter(statuses)
    killed = sum(count[status] for status in KILLED)
    share = f"{killed / len(statuses):.1%}"
    return f"| {title} | {len(statuses)} | {killed} | {count['timeout']} | {len(statuses) - killed} | {share} |"


def _listed(survivors: Sequence[Survivor], reasons: dict[Survivor, str]) -> Iterator[str]:
    """The survivors by function and reason, in the order of the reasons."""
    groups: dict[tuple[str, str], list[str]] = {}
    for survivor in (*(s for s in reasons if s in survivors), *(s for s in survivors if s not in reasons)):
        groups.setdefault((survivor.function, reasons.get(survivor, "no reason yet")), []).append(survivor.becomes)
    for (function, why), lines in groups.items():
        yield f"`{function}`: {why}"
        yield from ("", "```text", *lines, "```", "")


if __name__ == "__main__":
    sys.exit(main())
