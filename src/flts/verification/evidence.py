"""What a report rests on: the objects of one run, each read once, with the digest of every one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DamagedObject, FltsError, StageFailed
from flts.contracts.listing import Listed
from flts.contracts.ports import Record, SeenRun, Store
from flts.contracts.records.base import R, parse_stored, require_object, require_record, version_of
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import ModelResult
from flts.contracts.records.run import FailurePart, JudgePart, PreprocessPart, RunClaim, TrainPart
from flts.preprocess.stage import ProcessedDataset, load_dataset
from flts.promotion.log import Chain, listed
from flts.spec.fields import Spec
from flts.spec.lineage import Identity, Versions
from flts.train.experiment import Experiment, plan_experiment
from flts.verification.outside import Outside
from flts.verification.versions import CURRENT, identified

T = TypeVar("T")
Noted = dict[str, str | None]
"""SHA-256 of what was read, by its name; None where it is absent."""


class RunEvidence(Listed):
    """One run and everything that it left in the store. It is itself a store that is only read.

    What a check reads is noted with its digest, also where it was read before. Nothing is read twice, so all checks see
    the same bytes.
    """

    def __init__(self, store: Store, config_hash: str, run: int, outside: Outside | None = None) -> None:
        self._store, self.config_hash, self.run = store, config_hash, run
        self.outside = outside or Outside()
        self.elsewhere: Mapping[str, str] = {}
        """Keys under which objects lie now, by the key that they had when the run was judged."""
        self.url = "the store"  # where somebody keeps it is no evidence, and would change the report
        self._objects: dict[str, bytes | None] = {}
        self._digests: Noted = {}
        self._lists: dict[str, Sequence[str]] = {}
        self._made: dict[str, tuple[object, FltsError | None, Noted]] = {}
        self._noted: list[Noted] = []

    def get(self, key: str) -> bytes | None:
        """An object, None when it is absent."""
        if key not in self._objects:
            data = self._objects[key] = self._store.get(self.elsewhere.get(key, key))
            self._digests[key] = None if data is None else sha256(data)
        self.note(key, self._digests[key])
        return self._objects[key]

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        if key in self._objects:
            return self._objects[key] is not None
        return self._store.exists(self.elsewhere.get(key, key))

    def list(self, prefix: str) -> Sequence[str]:
        """All keys that start with the prefix, sorted."""
        if prefix not in self._lists:
            self._lists[prefix] = self._store.list(prefix)
        return self._lists[prefix]

    def create(self, key: str, data: bytes) -> bool:
        """RunEvidence is never written."""
        raise AssertionError(f"evidence is only read: {key}")

    def replace(self, key: str, data: bytes) -> None:
        """RunEvidence is never written."""
        raise AssertionError(f"evidence is only read: {key}")

    def erase(self, key: str) -> None:
        """RunEvidence is never written."""
        raise AssertionError(f"evidence is only read: {key}")

    def note(self, name: str, digest: str | None) -> None:
        """Say that something was read."""
        if self._noted:
            self._noted[-1][name] = digest

    @contextmanager
    def noting(self) -> Iterator[Noted]:
        """Everything that is read meanwhile."""
        noted: Noted = {}
        self._noted.append(noted)
        try:
            yield noted
        finally:
            self._noted.pop()

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned or raised the first time; whoever asks again has read the same."""
        if name not in self._made:
            value: T | None = None
            error: FltsError | None = None
            with self.noting() as noted:
                try:
                    value = make()
                except FltsError as raised:
                    error = raised
                except Exception:
                    if len(self._noted) > 1:  # whoever asked has read this, and may rest on what is damaged in it
                        self._noted[-2].update(noted)
                    raise
            self._made[name] = (value, error, noted)
        found, error, noted = self._made[name]
        if self._noted:
            self._noted[-1].update(noted)
        if error is not None:
            raise error.with_traceback(None)
        return found  # type: ignore[return-value]

    def digest(self, key: str) -> str | None:
        """SHA-256 of an object, None when it is absent."""
        self.get(key)
        return self._digests[key]

    def record(self, key: str, kind: type[R]) -> R | None:
        """A record, None when it is absent. Raises DamagedObject."""

        def read() -> R | None:
            data = self.get(key)
            return None if data is None else parse_stored(self, key, kind, data)

        return self.once(f"record {key}", read)

    def required(self, key: str, kind: type[R]) -> R:
        """A record that another one names. Raises DamagedObject where it is absent."""
        record = self.record(key, kind)
        return require_record(self, key, kind) if record is None else record

    @property
    def folder(self) -> str:
        """The folder of the run."""
        return layout.run_folder(self.config_hash, self.run)

    def part(self, name: str) -> str:
        """The key of a part of the run."""
        return layout.run_part(self.config_hash, self.run, name)

    @property
    def claim(self) -> RunClaim:
        """Which run this is."""
        return self.required(self.part("claim"), RunClaim)

    @property
    def scope(self) -> str:
        """The scope of the run, by its name alone where the claim cannot be read."""
        with self.noting():
            try:
                return self.claim.scope
            except DamagedObject:
                return "unknown"  # the first claim says so, and all others rest on it

    @property
    def deployment(self) -> Mapping[str, str]:
        """What the deployment says of itself; empty outside of one, and where the claim cannot be read."""
        with self.noting():
            try:
                return self.claim.deployment or {}
            except DamagedObject:
                return {}

    @property
    def prepared(self) -> PreprocessPart | None:
        """The record of the rows."""
        return self.record(self.part("preprocess"), PreprocessPart)

    def trained(self, model: str) -> TrainPart | None:
        """The record of a model that has a result."""
        return self.record(self.part(f"train-{model}"), TrainPart)

    def failed(self, model: str) -> FailurePart | None:
        """The record of a model that failed."""
        return self.record(layout.failure(self.config_hash, self.run, model), FailurePart)

    def keys_of(self, model: str) -> Sequence[tuple[str, type[TrainPart | FailurePart]]]:
        """Where a model has its record, and of which kind: a result, or a failure."""
        failure = layout.failure(self.config_hash, self.run, model)
        return [(self.part(f"train-{model}"), TrainPart), (failure, FailurePart)]

    @property
    def judged(self) -> JudgePart | None:
        """The record of the judge."""
        return self.record(self.part("judge"), JudgePart)

    @property
    def spec(self) -> Spec:
        """The experiment."""
        return self.required(layout.spec(self.config_hash), Spec)

    @property
    def identity(self) -> Identity:
        """The hashes that the experiment has with the code versions of the run."""
        return self._identified[0]

    def require_identity(self) -> None:
        """Raise StageFailed for an experiment of an earlier version, whose fields are others."""
        assert self._identified

    @property
    def _identified(self) -> tuple[Identity, Versions]:
        """Raises StageFailed for an experiment of an earlier version, whose hashes this FLTS cannot make."""

        def read() -> tuple[Identity, Versions]:
            stored = require_object(self, layout.spec(self.config_hash))
            if stored.get("v") != version_of(Spec):
                raise StageFailed(
                    f"the experiment has version {stored.get('v')} of its format, and this flts makes the hashes of"
                    f" version {version_of(Spec)}; use flts {self.claim.flts}, which claimed the run",
                    code="spec-older",
                )
            hashes = {model: found for model in self.models if (found := self.model_hash(model)) is not None}
            return identified(self.spec, self.claim.data_hash, self.config_hash, hashes)

        return self.once("identity", read)

    @property
    def meta(self) -> ProcessedMeta:
        """What preprocessing learned from the rows."""
        return self.required(layout.meta(self.claim.data_hash), ProcessedMeta)

    @property
    def dataset(self) -> ProcessedDataset:
        """The processed rows, their digests checked."""
        targets = tuple(self.spec.dataset.targets)
        return self.once("dataset", lambda: load_dataset(self, self.claim.data_hash, targets))

    @property
    def experiment(self) -> Experiment:
        """The experiment on its rows. Raises StageFailed where this FLTS would compute other numbers."""

        def read() -> Experiment:
            identity, made_with = self._identified
            if (made_with.train, made_with.evaluate) != (CURRENT.train, CURRENT.evaluate):
                raise StageFailed(
                    f"the run was made with version {made_with.train} of train and {made_with.evaluate} of evaluate,"
                    f" and this flts has {CURRENT.train} and {CURRENT.evaluate}; use flts {self.claim.flts}",
                    code="versions-differ",
                )
            return plan_experiment(self.spec, identity, self.dataset)

        return self.once("experiment", read)

    def result(self, model_hash: str) -> ModelResult:
        """The commit point of a model."""
        return self.required(layout.model_result(model_hash), ModelResult)

    @property
    def decision_key(self) -> str | None:
        """The key of the decision that the judge of this run recorded."""
        judged = self.judged
        return None if judged is None else layout.decision(judged.scope, judged.decision_id)

    @property
    def decision(self) -> DecisionRecord | None:
        """The decision of this run; None when it was not judged."""
        key = self.decision_key
        return None if key is None else self.required(key, DecisionRecord)

    @property
    def log(self) -> Chain:
        """The promotion log of the scope, its chain of digests checked. Raises DamagedObject.

        Its newest entry stands for all: through the chain, its digest is that of the whole log.
        """

        def read() -> Chain:
            with self.noting() as every:
                try:
                    entries = listed(self, self.claim.scope, by_snapshot=False)
                except DamagedObject:
                    self._noted[-2].update(every)
                    raise
            newest = layout.log_entry(self.claim.scope, len(entries))
            return Chain(entries, self.digest(newest) if entries else None)

        return self.once("log", read)

    @property
    def entry(self) -> LogEntry | None:
        """The log entry that promoted with the decision of this run."""
        judged = self.judged
        if judged is None:
            return None
        entries = self.log.entries
        return next((e for e in entries if e.decision_id == judged.decision_id and e.kind == "promote"), None)

    @property
    def models(self) -> Sequence[str]:
        """Every model of this run by name, also where its experiment cannot be read."""

        def read() -> Sequence[str]:
            names = {key.removeprefix(self.folder).removesuffix(".json") for key in self.list(self.folder)}
            parted = {name.removeprefix(kind) for kind in PER_MODEL for name in names if name.startswith(kind)}
            try:
                return sorted(parted | set(self.spec.expected))
            except FltsError:
                return sorted(parted)

        with self.noting():  # which claims there are is no evidence for any of them
            return self.once("models", read)

    def tracked_here(self, model: str) -> bool:
        """Whether the record of a model names a tracked run."""
        with self.noting():
            try:
                part = self.trained(model) or self.failed(model)
            except DamagedObject:
                return False
            return part is not None and part.run_id is not None

    def tracked(self, run_id: str) -> SeenRun | None:
        """A tracked run as the tracker shows it now."""

        def read() -> SeenRun | None:
            tracker = self.outside.tracker
            seen = None if tracker is None else tracker.look(run_id)
            self.note(f"tracked run {run_id}", None if seen is None else digest(dataclasses.asdict(seen)))
            return seen

        return self.once(f"tracked {run_id}", read)

    @property
    def champion_tags(self) -> Mapping[str, str] | None:
        """The tags of the champion in the tracker."""

        def read() -> Mapping[str, str] | None:
            tracker = self.outside.tracker
            tags = None if tracker is None else tracker.champion(self.scope)
            self.note(f"tracked champion {self.scope}", None if tags is None else digest(tags))
            return tags

        return self.once("champion", read)

    def messages(self, topic: str) -> Sequence[Record]:
        """Everything that a topic holds now; who uses a message notes it."""
        bus = self.outside.bus
        return self.once(f"topic {topic}", lambda: [] if bus is None else bus.records(topic))

    def model_hash(self, model: str) -> str | None:
        """The model_hash that the run recorded; None where it recorded none."""
        try:
            trained, failed = self.trained(model), self.failed(model)
        except DamagedObject:
            return None
        return trained.model_hash if trained else failed.model_hash if failed else None


class Rehearsal(Listed):
    """A store on top of evidence that keeps what is written to itself, so that a stage can be run again.

    instead: keys under which it finds objects, by the key that a stage reads; without: keys of objects that it does
    not have.
    """

    def __init__(self, evidence: Store, instead: Mapping[str, str], without: Collection[str] = ()) -> None:
        self._evidence, self.url, self._instead, self._without = evidence, evidence.url, instead, without
        self.written: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """What was written here, else the evidence."""
        if key in self.written:
            return self.written[key]
        return None if key in self._without else self._evidence.get(self._instead.get(key, key))

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        if key in self.written:
            return True
        return key not in self._without and self._evidence.exists(self._instead.get(key, key))

    def list(self, prefix: str) -> Sequence[str]:
        """All keys that start with the prefix, sorted."""
        there = (key for key in self._evidence.list(prefix) if key not in self._without)
        return sorted({*there, *(key for key in self.written if key.startswith(prefix))})

    def create(self, key: str, data: bytes) -> bool:
        """Keep an object, even where the evidence has one: what a stage makes now is what is compared."""
        self.written[key] = data
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Keep an object."""
        self.written[key] = data

    def erase(self, key: str) -> None:
        """Forget an object that was written here."""
        self.written.pop(key, None)


PER_MODEL = ("train-", "failures/")
"""How the parts of a run that are about one model begin."""
