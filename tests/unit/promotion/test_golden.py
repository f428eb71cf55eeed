"""Decisions, previews, log and pointers of a store of the version before: read, and made again alike.

Decisions are made again only under the code versions of that store, because another version may decide otherwise.
"""

from __future__ import annotations

import json

import pytest
from tests.golden.store import NEWEST, WRITTEN_WITH, other_versions
from tests.support.stored import StoppedClock, contents, copy, golden_store, without
from tests.support.wording import numbers_of

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import layout, runs
from flts.contracts.canonical import sha256
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Store
from flts.contracts.records.base import read_record
from flts.contracts.records.decision import DecisionRecord, Preview
from flts.contracts.records.run import RunClaim
from flts.promotion.judge import Waiting, gather, judge
from flts.promotion.log import decision_of, read_chain, read_log, rollback_target
from flts.promotion.relay import read_pointer, relay, selected
from flts.promotion.stage import rollback
from flts.runner.stored import load_experiment

SCOPE = "global"


@pytest.fixture(scope="module", params=list(WRITTEN_WITH))
def golden(request: pytest.FixtureRequest) -> Store:
    return golden_store(request.param)


def decisions(store: Store) -> list[str]:
    """Keys of the decisions, without their previews."""
    keys = store.list(f"model-promotion/{SCOPE}/decisions/")
    return [key for key in keys if not key.endswith(".preview.json")]


def test_a_stored_decision_keeps_all_that_it_said_through_its_upgrade(golden: Store) -> None:
    keys = decisions(golden)
    assert keys
    for key in keys:
        record = read_record(golden, key, DecisionRecord)
        assert record is not None
        before = json.loads(golden.get(key) or b"")
        assert json.loads(record.to_bytes()) == ({**before, "v": 2, "look": None} if before["v"] == 1 else before)
        if record.preview_sha256 is not None:
            preview = layout.preview(SCOPE, record.decision_id)
            stored = read_record(golden, preview, Preview)
            assert stored is not None
            assert stored.to_bytes() == golden.get(preview)


@pytest.mark.skipif(other_versions(NEWEST) is not None, reason=str(other_versions(NEWEST)))
def test_every_stored_decision_is_made_again_from_what_is_stored_beside_it() -> None:
    golden = golden_store(NEWEST)
    champions = {entry.champion.model_hash: entry for entry in read_log(golden, SCOPE)}
    for key in decisions(golden):
        record = read_record(golden, key, DecisionRecord)
        assert record is not None
        claim = next(iter(runs.parts(golden, record.config_hash, "claim", RunClaim)))
        experiment = load_experiment(golden, record.config_hash, claim.data_hash)
        candidates = gather(golden, experiment, SCOPE)
        assert not isinstance(candidates, Waiting)
        champion = champions[record.champion.model_hash] if record.champion else None
        store = without(golden, key, layout.preview(SCOPE, record.decision_id))
        judge(store, experiment, candidates, SCOPE, [champion] if champion else ())
        again, before = store.get(key), golden.get(key)
        assert again is not None
        assert before is not None
        assert json.loads(again)["evidence"]["objects"]
        assert numbers_of(again) == numbers_of(before)
        preview = layout.preview(SCOPE, record.decision_id)
        assert store.get(preview) == golden.get(preview)


def test_the_stored_log_and_its_pointers_keep_their_bytes_through_their_types(golden: Store) -> None:
    entries = read_log(golden, SCOPE)
    stored = [json.loads(golden.get(key) or b"") for key in golden.list(layout.log(SCOPE))]
    assert [json.loads(entry.to_bytes()) for entry in entries] == [
        {**before, "v": 2, "decision_sha256": None} if before["v"] == 1 else before for before in stored
    ]
    for key in (layout.root_pointer(), layout.scope_pointer(SCOPE)):
        pointer = read_pointer(golden, key)
        now = selected(read_chain(golden, SCOPE), entries[-1])
        assert isinstance(pointer, ModelSelected)
        assert pointer == (now if pointer.v == 2 else now.model_copy(update={"v": 1, "entry_sha256": None}))
        assert pointer.to_bytes() == golden.get(key)


def test_the_stored_log_goes_on_and_nothing_is_announced_again(golden: Store) -> None:
    store, bus = memory_store(), MemoryBus()
    copy(golden, store)
    before = contents(store)
    entries = read_log(store, SCOPE)
    assert all(decision_of(store, entry).decision_id == entry.decision_id for entry in entries)
    assert relay(store, bus, SCOPE).log.newest == entries[-1]
    assert contents(store) == before
    assert bus.records(ModelSelected.topic) == []
    target = rollback_target(entries, SCOPE)
    entry = rollback(store, bus, StoppedClock(), SCOPE, "tests")
    assert (entry.number, entry.champion) == (len(entries) + 1, target.champion)
    assert entry.decision_sha256 == sha256(store.get(layout.decision(SCOPE, target.decision_id)) or b"")
    assert read_log(store, SCOPE) == [*entries, entry]
    (record,) = bus.records(ModelSelected.topic)
    assert ModelSelected.parse(record.value).replaces is None
