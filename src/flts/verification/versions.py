"""Which code versions a run was made with: hashes contain them, and a later FLTS may have others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from flts.contracts.canonical import digest
from flts.evaluate import CODE_VERSION as EVALUATE
from flts.models.ensemble import Ensemble
from flts.models.registry import versions
from flts.preprocess import CODE_VERSION as PREPROCESS
from flts.spec.fields import Spec
from flts.spec.lineage import CodeVersion, Identity, Versions, identify, model_fields
from flts.train import CODE_VERSION as TRAIN

CURRENT = versions(PREPROCESS, TRAIN, EVALUATE)


def identified(spec: Spec, data_hash: str, config_hash: str, recorded: Mapping[str, str]) -> tuple[Identity, Versions]:
    """The hashes of an experiment with the code versions that give it this config_hash; the current ones if none do.

    recorded: the model_hash that a run recorded, by model.
    """
    for tried in (CURRENT, *_earlier(spec, data_hash, recorded)):
        identity = identify(spec, data_hash, tried)
        if identity.config_hash == config_hash:
            return identity, tried
    return identify(spec, data_hash, CURRENT), CURRENT


def _earlier(spec: Spec, data_hash: str, recorded: Mapping[str, str]) -> Iterator[Versions]:
    """Earlier versions of train, evaluate, the families and the ensemble, the newest first."""
    for train, evaluate, ensemble in product(*(range(newest, 0, -1) for newest in (TRAIN, EVALUATE, Ensemble.version))):
        models = {name: _of_family(spec, name, data_hash, train, recorded.get(name)) for name in spec.trained}
        yield replace(CURRENT, models={**models, Ensemble.name: ensemble}, train=train, evaluate=evaluate)


def _of_family(spec: Spec, name: str, data_hash: str, train: int, model_hash: str | None) -> CodeVersion:
    """The version of a family that gives its model the recorded hash; the current one where none does."""
    current = CURRENT.models[name]
    tried = range(current, 0, -1) if isinstance(current, int) else ()
    ahead = spec.expected[name].looks_ahead
    fits = (v for v in tried if digest(model_fields(spec, name, data_hash, v, train, ahead=ahead)) == model_hash)
    return next(fits, current)
