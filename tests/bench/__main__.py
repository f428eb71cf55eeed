"""`python -m tests.bench [NAME …] [--write]`: all figures, or those of some benchmarks."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterator

from flts.train.determinism import cores, made_on, processor
from tests.bench import accuracy, coverage, data, gate, models, scale, serve, services, speed, tracked, verified
from tests.bench.measure import LTE, Figure
from tests.support import ROOT

PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "start": speed.start,
    "seed_run": speed.seed_run,
    "full_run": speed.full_run,
    "verify": verified.verify,
    "tracking": tracked.tracking,
    "gru_epoch": speed.gru_epoch,
    "lte": accuracy.lte,
    "jfk": accuracy.jfk,
    "winner_coverage": accuracy.coverage,
    "coverage": coverage.families,
    "intervals": coverage.intervals,
    "answers": coverage.answers,
    "gate_size": gate.gate_size,
    "gate_looks": gate.gate_looks,
    "gate_power": gate.gate_power,
    "services": services.services,
    "batch": services.batch,
    "serve_ratio": serve.ratio,
    "serve_start": serve.start,
    "serve_peers": serve.peers,
    "serve_overload": serve.overload,
    "serve_promotions": serve.promotions,
    "wide": models.wide,
    "calendar": models.calendar,
    "holes": models.holes,
    "ten_million": data.ten_million,
    "scale_identifiers": scale.identifiers,
    "scale_log": scale.promotions,
    "scale_runs": scale.runs,
}
NEEDS_LTE = {"seed_run", "full_run", "verify", "gru_epoch", "lte", "services", "batch"}


def main() -> None:
    """Measure and print; with --write also replace the table in docs/performance.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="benchmarks to run; by default all")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    figures = []
    for name in arguments.names or BENCHMARKS:
        if name in NEEDS_LTE and not LTE.is_dir():
            print(f"{name}: skipped, the LTE measurements are not in {LTE}")
            continue
        for figure in BENCHMARKS[name]():
            figures.append(figure)
            print(f"{figure.name}: {figure.measured} (goal {figure.goal}); {figure.reference}", flush=True)
    if arguments.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(START)
        previous, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n{_table(figures, previous)}{END}{after}")


def _table(figures: list[Figure], previous: str) -> str:
    """The table with the figures of these benchmarks replaced; all others stay."""
    libraries = made_on(("torch", "prophet", "statsforecast")).libraries
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    lines = [
        f"Measured on {cores()} cores ({processor()}), Python {platform.python_version()}, {versions}.",
        "",
        "| what | measured | to reach | beside it | command |",
        "|---|---|---|---|---|",
    ]
    rows = {
        command: [line for line in previous.splitlines() if line.endswith(_ending(command))] for command in BENCHMARKS
    }
    for command in {figure.command for figure in figures}:
        mine = [f for f in figures if f.command == command]
        rows[command] = [f"| {f.name} | {f.measured} | {f.goal} | {f.reference}{_ending(command)}" for f in mine]
    lines += [line for of_command in rows.values() for line in of_command]
    return "\n".join(lines) + "\n"


def _ending(command: str) -> str:
    return f" | `python -m tests.bench {command}` |"


if __name__ == "__main__":
    main()
