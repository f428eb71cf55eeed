"""What the store says about runs: its parts joined, nothing computed anew and nothing believed that is not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flts.contracts import layout, runs
from flts.contracts.errors import UsageError, nearest
from flts.contracts.ports import Store, read_json


def configurations(store: Store) -> list[str]:
    """Every config_hash that was ever run."""
    return sorted({key.split("/")[1] for key in store.list("runs/")})


def resolve(store: Store, prefix: str) -> str:
    """The config_hash that starts with `prefix`. Raises UsageError when none or several do."""
    known = configurations(store)
    found = [name for name in known if name.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    short = [name[:12] for name in known]
    problem = "is the start of several" if found else "is the start of none"
    raise UsageError(f"'{prefix}' {problem} of the configurations in {store.url}; {nearest(prefix, short)}")


def run_record(store: Store, config_hash: str, run: int) -> dict[str, Any]:
    """All parts of one run in one record: claim, preprocess, models, judge, decision, Spec, processed rows."""
    folder = f"{layout.runs(config_hash)}{run:04d}/"
    parts = {key.removeprefix(folder).removesuffix(".json"): read_json(store, key) for key in store.list(folder)}
    if "claim" not in parts:
        numbers = ", ".join(map(str, runs.numbers(store, config_hash)))
        raise UsageError(f"configuration {config_hash[:12]} has no run {run}; it has {numbers}")
    judge = parts.get("judge")
    claim = parts["claim"]
    return {
        "v": 1,
        "config_hash": config_hash,
        "run": run,
        "claim": claim,
        "spec": read_json(store, layout.spec(config_hash)),
        "data": read_json(store, layout.meta(claim["data_hash"])),
        "preprocess": parts.get("preprocess"),
        "models": {name.removeprefix("train-"): part for name, part in parts.items() if name.startswith("train-")},
        "failures": {
            name.removeprefix("failures/"): part for name, part in parts.items() if name.startswith("failures/")
        },
        "judge": judge,
        "decision": read_json(store, layout.decision(claim["scope"], judge["decision_id"])) if judge else None,
    }


def newest_first(store: Store) -> Sequence[dict[str, Any]]:
    """Claim and judgement of every run, newest first."""
    rows = []
    for config_hash in configurations(store):
        for run in runs.numbers(store, config_hash):
            claim = read_json(store, layout.run_part(config_hash, run, "claim"))
            judge = read_json(store, layout.run_part(config_hash, run, "judge"))
            rows.append({"config_hash": config_hash, "run": run, "claim": claim, "judge": judge})
    return sorted(rows, key=lambda row: row["claim"]["started"], reverse=True)
