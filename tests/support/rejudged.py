"""Decides every stored decision again from the stored results: a different decision depends on chance."""

from __future__ import annotations

from collections.abc import Iterator

from flts.backends.store import memory_store
from flts.contracts import runs
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.run import RunClaim
from flts.promotion.judge import Waiting, gather, judge
from flts.runner.stored import load_experiment
from tests.support.checker import History


def differing(history: History) -> Iterator[str]:
    """A sentence for every decision that differs when it is made again."""
    store = memory_store()
    for key, data in history.objects.items():
        store.create(key, data)
    for key in sorted(history.objects):
        match key.split("/"):
            case ["model-promotion", scope, "decisions", name] if not name.endswith(".preview.json"):
                again = _again(history, store, scope, require_record(store, key, DecisionRecord))
                if again is None:
                    yield f"{key}: a result that it was made from is gone"
                elif name != f"{again.decision_id}.json" or again.to_bytes() != history.objects[key]:
                    yield f"{key} comes out differently when it is made again"


def _again(history: History, store: Store, scope: str, record: DecisionRecord) -> DecisionRecord | None:
    claims = runs.parts(store, record.config_hash, "claim", RunClaim)
    claim = next(claim for claim in claims if claim.scope == scope)
    experiment = load_experiment(store, record.config_hash, claim.data_hash)
    candidates = gather(store, experiment, scope)
    if isinstance(candidates, Waiting):
        return None
    without = memory_store()
    for key in store.list(""):
        if not key.startswith(f"model-promotion/{scope}/decisions/{record.decision_id}"):
            without.create(key, store.get(key) or b"")
    log = [entry for _, entry in sorted(history.entries(scope).items())]
    standing = record.champion.model_hash if record.champion else None
    # the same champion may have been chosen by several decisions; only one is that of this judgement
    logs = [log[:end] for end in range(1, len(log) + 1) if log[end - 1].champion.model_hash == standing] or [[]]
    found = [judge(without, experiment, candidates, scope, entries).record for entries in logs]
    return next((again for again in found if again.decision_id == record.decision_id), found[-1])
