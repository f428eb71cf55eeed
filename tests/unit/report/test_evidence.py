"""The parts of a run joined into one record, nothing added."""

from __future__ import annotations

from typing import Any

import pytest

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import UsageError
from flts.contracts.ports import Store
from flts.contracts.runs import numbers
from flts.report.evidence import configurations, newest_first, resolve, run_record

A, B, C = "ab" * 32, "ab" * 16 + "cd" * 16, "ef" * 32


def put(store: Store, key: str, **fields: Any) -> dict[str, Any]:
    store.create(key, canonical_json(fields))
    return fields


def claim(store: Store, config_hash: str, run: int, started: str = "2026-01-01T00:00:00+00:00") -> dict[str, Any]:
    fields = {"run": run, "scope": "global", "data_hash": "d" * 64, "started": started}
    return put(store, layout.run_part(config_hash, run, "claim"), **fields)


@pytest.fixture
def store() -> Store:
    store = memory_store()
    claim(store, A, 1, "2026-01-01T00:00:00+00:00")
    claim(store, A, 2, "2026-01-03T00:00:00+00:00")
    claim(store, B, 1, "2026-01-02T00:00:00+00:00")
    claim(store, C, 1, "2026-01-01T12:00:00+00:00")
    return store


def test_every_configuration_that_was_run_is_known_once(store: Store) -> None:
    assert configurations(store) == sorted([A, B, C])
    assert configurations(memory_store()) == []


@pytest.mark.parametrize(("prefix", "found"), [("e", C), (C, C), (A, A), (A[:33], A), ("ab" * 16 + "c", B)])
def test_the_start_of_a_hash_is_enough_when_it_is_the_only_one(store: Store, prefix: str, found: str) -> None:
    assert resolve(store, prefix) == found


@pytest.mark.parametrize(
    ("prefix", "problem"), [("ab", "is the start of several"), ("", "is the start of several"), ("0", "of none")]
)
def test_a_start_that_fits_several_or_none_is_refused_with_those_that_are_there(
    store: Store, prefix: str, problem: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(store, prefix)
    assert problem in str(caught.value)
    assert C[:12] in str(caught.value)
    assert "memory:///" in str(caught.value)


def test_runs_are_numbered_as_they_were_claimed_and_parts_without_a_claim_are_no_run(store: Store) -> None:
    put(store, layout.run_part(A, 3, "judge"), decision_id="d")
    for number in range(3, 12):
        claim(store, C, number)
    assert numbers(store, A) == [1, 2]
    assert numbers(store, C) == [1, *range(3, 12)]
    assert numbers(store, "0" * 64) == []


def test_a_record_joins_every_part_of_the_run_and_what_they_name(store: Store) -> None:
    expected: dict[str, Any] = {
        "v": 1,
        "config_hash": A,
        "run": 1,
        "claim": {"run": 1, "scope": "global", "data_hash": "d" * 64, "started": "2026-01-01T00:00:00+00:00"},
        "spec": put(store, layout.spec(A), v=1),
        "data": put(store, layout.meta("d" * 64), rows=3),
        "preprocess": put(store, layout.run_part(A, 1, "preprocess"), reused=False),
        "models": {
            "gru": put(store, layout.run_part(A, 1, "train-gru"), fitted=True),
            "ridge": put(store, layout.run_part(A, 1, "train-ridge"), fitted=False),
        },
        "failures": {"lstm": put(store, layout.failure(A, 1, "lstm"), reason="a reason")},
        "judge": put(store, layout.run_part(A, 1, "judge"), decision_id="x"),
        "decision": put(store, layout.decision("global", "x"), winner="gru"),
    }
    put(store, layout.run_part(A, 2, "train-gru"), of="another run")
    put(store, layout.decision("north", "x"), of="another scope")
    assert run_record(store, A, 1) == expected


def test_a_run_that_is_not_judged_yet_has_no_judge_and_no_decision(store: Store) -> None:
    record = run_record(store, A, 2)
    assert record["judge"] is record["decision"] is record["preprocess"] is record["spec"] is None
    assert record["models"] == record["failures"] == {}


def test_a_run_that_never_was_is_refused_with_the_numbers_that_are_there(store: Store) -> None:
    with pytest.raises(UsageError, match=rf"configuration {A[:12]} has no run 7; it has 1, 2"):
        run_record(store, A, 7)


def test_runs_of_all_configurations_are_listed_newest_first(store: Store) -> None:
    judge = put(store, layout.run_part(B, 1, "judge"), outcome="keep")
    rows = newest_first(store)
    assert [(row["config_hash"], row["run"]) for row in rows] == [(A, 2), (B, 1), (C, 1), (A, 1)]
    assert [row["judge"] for row in rows] == [None, judge, None, None]
    assert rows[0]["claim"]["started"] == "2026-01-03T00:00:00+00:00"
