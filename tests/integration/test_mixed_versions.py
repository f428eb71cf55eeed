"""An update, replica by replica: old ones beside a new one that writes the next format, and the way back.

The next format is that of this flts with a higher `v`; the format before is that of a store that an older flts wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.promotions import promote, two_bundles
from tests.support.raising import raises
from tests.support.runs_to_judge import claimed, told, trained
from tests.support.services import LONG, context_on, serving, wait_until
from tests.support.stored import Watched, contents, copy, golden_store, put_train_part
from tests.support.tracking import claim_of
from tests.unit.server.test_models import find, following

from flts.backends.bus_memory import MemoryBus
from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject, NoChampion
from flts.contracts.ports import Silent, Store
from flts.promotion.log import read_log, scopes
from flts.promotion.relay import relay_all
from flts.runner.candidate import finish_model
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.host import Conditions
from flts.runner.services.letters import letters
from flts.runner.services.trace import TracedBus
from flts.server.models import ServedModels
from flts.wiring import open_store

PATIENT = Conditions(patience=LONG, grace=5.0)


def of_next_version(record: Any) -> bytes:
    """A record as the next flts writes it."""
    return canonical_json({**record, "v": record["v"] + 1, "of_next_version": True})


def promoted_by_next(store: Store, *bundles: str) -> str:
    """Promote the last bundle in the next format; returns the key of the entry."""
    entry = promote(*bundles, store=two_bundles()[0])[-1]
    key = layout.log_entry("global", entry.number)
    assert store.create(key, of_next_version(json.loads(entry.to_bytes())))
    return key


def test_an_old_server_stays_on_its_champion_and_says_that_it_is_stale() -> None:
    store, first, second = two_bundles()
    models = following(store, first)
    before = models.served["global"]
    key = promoted_by_next(store, first, second)
    for _ in range(3):
        models.catch_up()
    models.check_ready()
    stale = find(models)
    assert stale.champion is before.champion
    assert stale.stale_since is not None
    state, _ = models.known()
    assert state.stale is not None
    assert (state.newest, state.stale.code) == (2, "record-newer")
    # a server that starts only now has nothing to stay on: it is not ready, and the new ones answer
    late = ServedModels(store)
    late.catch_up()
    with pytest.raises(NoChampion):
        late.check_ready()
    # on the way back a person takes the entry out of the log, and both serve what they can read
    store.erase(key)
    for replica in (models, late):
        replica.catch_up()
        replica.check_ready()
        assert find(replica).champion.entry.number == 1
        assert find(replica).stale_since is None


def test_an_old_evaluator_keeps_its_message_for_a_new_one(tmp_path: Path) -> None:
    experiment, memory = trained()
    store = Watched(open_store((tmp_path / "objects").as_uri()))
    copy(memory, store)
    bus = MemoryBus()
    context = context_on(store, bus)
    run = claimed(context, experiment)
    put_train_part(store, experiment, run, "ridge")
    key = layout.log_entry("global", 1)
    [entry] = promote("0" * 64, store=two_bundles()[0])
    store.create(key, of_next_version(json.loads(entry.to_bytes())))
    message = told(experiment, run)
    judged = layout.run_part(experiment.identity.config_hash, run, "judge")
    evaluator = Evaluator(context)
    bus.publish(message.topic, message.key, message.value)
    bus.publish(message.topic, message.key, of_next_version(json.loads(message.value)))
    with serving(context, [evaluator], PATIENT):
        wait_until(lambda: store.read.count(key) > 1, "the old evaluator to try again")
    # it ended in the update: nothing is lost, nothing is decided
    assert bus.lag(message.topic, evaluator.group) == 2
    assert not letters(bus, message.topic)
    assert not store.exists(judged)
    store.erase(key)  # what a new evaluator reads
    with serving(context, [Evaluator(context)], PATIENT):
        wait_until(lambda: store.exists(judged), "the judgement")
        wait_until(lambda: bus.lag(message.topic, evaluator.group) == 1, "the commit")
    assert not letters(bus, message.topic)


@pytest.mark.parametrize("archive", ["store-1.zip", "store-2.zip"])
def test_what_an_older_release_wrote_stays_as_it_is_for_the_way_back(archive: str) -> None:
    store = golden_store(archive)
    before = contents(store)
    watched = Watched(store)
    bus = MemoryBus()
    relay_all(watched, TracedBus(bus))  # what each evaluator does when it starts
    models = ServedModels(watched)
    models.catch_up()
    models.check_ready()
    found = scopes(watched)
    assert found
    assert all(read_log(watched, scope) for scope in found)
    assert contents(store) == before
    assert watched.written == []


def test_an_old_trainer_does_not_call_a_result_of_the_next_format_a_failure(tmp_path: Path) -> None:
    experiment, memory = trained()
    store = Watched(memory)
    key = layout.model_result(experiment.identity.model_hashes["ridge"])
    result = json.loads(memory.get(key) or b"")
    memory.replace(key, of_next_version(result))
    context = context_on(store, MemoryBus())
    run = claimed(context, experiment)
    claim = claim_of(experiment, run)
    with raises(DamagedObject, code="record-newer"):
        finish_model(context, claim, experiment, "ridge", Silent(), recompute=False)
    assert not memory.exists(layout.failure(experiment.identity.config_hash, run, "ridge"))
