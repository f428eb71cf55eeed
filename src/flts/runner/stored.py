"""Reads the Spec and the experiment of a run back from the store, for a process that knows only its hashes."""

from __future__ import annotations

from flts.contracts import layout
from flts.contracts.errors import DamagedObject, StageFailed, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.base import parse_object, parse_record
from flts.evaluate import CODE_VERSION as EVALUATE
from flts.models.registry import versions
from flts.preprocess import CODE_VERSION as PREPROCESS
from flts.preprocess.stage import load_dataset
from flts.spec.fields import Spec
from flts.spec.lineage import identify
from flts.spec.sources import not_installed
from flts.train import CODE_VERSION as TRAIN
from flts.train.experiment import Experiment, plan_experiment

VERSIONS = versions(PREPROCESS, TRAIN, EVALUATE)


def load_stored_spec(store: Store, config_hash: str) -> Spec:
    """The Spec of a configuration, without its locators.

    Raises DamagedObject when it is absent or invalid, UsageError when a model is of no installed package.
    """
    key = layout.spec(config_hash)
    stored = store.get(key)
    if stored is None:
        raise DamagedObject(f"{key} is absent from {store.url}", code="object-missing", key=key)
    where, advice = f"{key} in {store.url}", "use one version of flts everywhere, or restore it from a backup"
    try:
        return parse_record(Spec, stored, where, advice, key=key)
    except DamagedObject:
        absent = not_installed(parse_object(stored, where, advice, key=key))
        if not absent:
            raise
        raise UsageError(
            f"the Spec of {config_hash[:12]}… names the model '{absent[0]}', which no installed package provides;"
            " install the package that the run was claimed with",
            code="model-not-installed",
            model=absent[0],
            config_hash=config_hash,
        ) from None


def load_experiment(store: Store, config_hash: str, data_hash: str) -> Experiment:
    """An experiment from the store alone. Raises StageFailed when this code would give it another hash."""
    spec = load_stored_spec(store, config_hash)
    identity = identify(spec, data_hash, VERSIONS)
    if identity.config_hash != config_hash:
        raise StageFailed(
            f"this version of flts gives the Spec of {config_hash[:12]}… the hash {identity.config_hash[:12]}…: its"
            " code versions differ from those that claimed the run; use one version of flts everywhere",
            code="versions-differ",
            expected=config_hash,
            found=identity.config_hash,
        )
    return plan_experiment(spec, identity, load_dataset(store, data_hash, tuple(spec.dataset.targets)))
