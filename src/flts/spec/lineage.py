"""The identity of a result: what goes into the four hashes, and why two of them differ.

    data_hash     the rows, and everything that shapes them
    model_hash    data_hash, the task, the model's own table, the seed, the code of the family and of train; of an
                  ensemble: the model_hashes of all others, the weights of the composite score, its own code
    windows_hash  data_hash, the task, how many test origins, the code of train
    config_hash   windows_hash, every model_hash, how the judge decides, the code of evaluate

Each hash is the SHA-256 of a plain dictionary as canonical JSON. The functions that build the dictionaries are public,
because a hash that cannot be taken apart cannot be explained. They take the resolved Spec (`spec.resolved`), so that
one experiment has one hash however it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flts.contracts.canonical import canonical_json, digest
from flts.spec.models import ENSEMBLE, EPOCHS

if TYPE_CHECKING:
    from flts.spec.fields import Spec


class Identified(Protocol):
    """Anything that lists its values that can change a number, such as a Spec."""

    def identity(self) -> dict[str, Any]:
        """Those values, as nested plain values."""


WINDOWS = ("windows", "step")
"""Values of [evaluate] that choose the test origins; the others are rules of the judge."""
PATIENCE = "patience"
"""The value of [train] that only families with epochs use."""


@dataclass(frozen=True)
class RawDigests:
    """Digests of the raw bytes; `test` is None when one file holds both parts."""

    train: str
    test: str | None


CodeVersion = int | Mapping[str, int | str]
"""An integer; for a model of another distribution, its integer with the name and version of that distribution."""


@dataclass(frozen=True)
class Versions:
    """Code versions: an integer per stage and model, raised when the same input gives another output."""

    preprocess: int
    models: Mapping[str, CodeVersion]
    train: int = 1
    evaluate: int = 1


@dataclass(frozen=True)
class Identity:
    """The four hashes of one Spec on one set of rows."""

    data_hash: str
    model_hashes: Mapping[str, str]
    """By model; that of an ensemble names all candidates, and its result lies under `made_of_fields`."""
    windows_hash: str
    config_hash: str


def data_fields(spec: Identified, raw: RawDigests, version: int) -> dict[str, Any]:
    """What data_hash is made of. test_fraction counts only where one file is split."""
    fields = spec.identity()
    dataset = fields["dataset"]
    split = {"test_fraction": dataset["test_fraction"]} if raw.test is None else {"test": raw.test}
    return {
        "train": raw.train,
        **split,
        "time_column": dataset["time_column"],
        "timezone": dataset["timezone"],
        "step": dataset["step"],
        "sample": fields["sample"],
        "preprocess": fields["preprocess"],
        "version": version,
    }


def model_fields(
    spec: Identified, name: str, data_hash: str, version: CodeVersion, train: int = 1, *, ahead: bool = False
) -> dict[str, Any]:
    """What the model_hash of one model is made of. train.patience counts only where its table has epochs.

    ahead: whether the model uses columns that are known ahead (`Table.looks_ahead`); they count for no other one.
    """
    fields = spec.identity()
    parameters, dataset = fields["models"][name], fields["dataset"]
    holidays = dataset.get("holidays") if ahead else None
    return {
        "data_hash": data_hash,
        "targets": dataset["targets"],
        "known_future": dataset["known_future"] if ahead else [],
        **({"holidays": holidays} if holidays else {}),
        "task": fields["task"],
        "train": {key: value for key, value in fields["train"].items() if key != PATIENCE or EPOCHS in parameters},
        "model": name,
        "parameters": parameters,
        "seed": fields["run"]["seed"],
        "threads": fields["run"]["threads"],
        "version": version,
        "train_version": train,
    }


def ensemble_fields(spec: Identified, model_hashes: Mapping[str, str], version: CodeVersion) -> dict[str, Any]:
    """What the model_hash of an ensemble is made of before its members have results: the rule and the candidates."""
    fields = spec.identity()
    return {
        "model": ENSEMBLE,
        "parameters": fields["models"][ENSEMBLE],
        "weights": fields["evaluate"]["weights"],
        "members": dict(model_hashes),
        "version": version,
    }


def made_of_fields(model_hash: str, members: Mapping[str, Mapping[str, str | None]]) -> dict[str, Any]:
    """What the hash is made of under which the result of an ensemble lies.

    members: model_hash, bundle_sha256 and validation_sha256 of those that succeeded. A run in which one failed has
    another hash than a run in which none did.
    """
    return {"ensemble": model_hash, "members": {name: dict(member) for name, member in members.items()}}


def windows_fields(spec: Identified, data_hash: str, train: int = 1) -> dict[str, Any]:
    """What windows_hash is made of: the test origins, never the models."""
    fields = spec.identity()
    chosen = {name: value for name, value in fields["evaluate"].items() if name in WINDOWS}
    return {
        "data_hash": data_hash,
        "targets": fields["dataset"]["targets"],
        "input_length": fields["task"]["input_length"],
        "horizon": fields["task"]["horizon"],
        "min_measured": fields["task"]["min_measured"],
        **chosen,
        "train_version": train,
    }


def config_fields(
    spec: Identified, windows_hash: str, model_hashes: Mapping[str, str], evaluate: int = 1
) -> dict[str, Any]:
    """What config_hash is made of: the windows, the candidates and the rules of the judge."""
    rules = {key: value for key, value in spec.identity()["evaluate"].items() if key not in WINDOWS}
    return {
        "windows_hash": windows_hash,
        "models": dict(model_hashes),
        "evaluate": rules,
        "evaluate_version": evaluate,
    }


def identify(spec: Spec, data_hash: str, versions: Versions) -> Identity:
    """All hashes of a resolved Spec whose rows are known by their data_hash."""
    models = {
        name: digest(
            model_fields(
                spec, name, data_hash, versions.models[name], versions.train, ahead=spec.expected[name].looks_ahead
            )
        )
        for name in spec.trained
    }
    if ENSEMBLE in spec.expected:
        models[ENSEMBLE] = digest(ensemble_fields(spec, models, versions.models[ENSEMBLE]))
    windows_hash = digest(windows_fields(spec, data_hash, versions.train))
    config_hash = digest(config_fields(spec, windows_hash, models, versions.evaluate))
    return Identity(data_hash, models, windows_hash, config_hash)


def moves(spec: Spec) -> dict[str, tuple[str, ...]]:
    """For every hashed leaf of a Spec, the hashes that change with it.

    The functions above are given a Spec whose every value is its own path, so that this can never differ from what is
    hashed. test_fraction counts as hashed, because with one file it is. The table of a family that is not installed is
    a dictionary, and says nothing of what is known ahead.
    """
    names = [f"model_hash({name})" for name in spec.expected]
    everything = ("data_hash", *names, "windows_hash", "config_hash")
    combined = [f"model_hash({name})" for name in spec.expected if name == ENSEMBLE]
    paths = _Paths(spec)
    moved_by: dict[str, tuple[str, ...]] = {}
    parts: list[tuple[Any, tuple[str, ...]]] = [
        (config_fields(paths, "", {}), ("config_hash",)),
        (windows_fields(paths, ""), ("windows_hash", "config_hash")),
        *(
            (
                model_fields(paths, n, "", 0, ahead=getattr(spec.expected[n], "looks_ahead", False)),
                (f"model_hash({n})", *combined, "config_hash"),
            )
            for n in spec.trained
        ),
        *((ensemble_fields(paths, {}, 0), (name, "config_hash")) for name in combined),
        (data_fields(paths, RawDigests("", None), 0), everything),
    ]
    for fields, hashes in parts:
        for path in _leaves(fields):
            if path in paths.all:
                together = {*moved_by.get(path, ()), *hashes}
                moved_by[path] = tuple(name for name in everything if name in together)
    return moved_by


def short(hashes: Sequence[str]) -> str:
    """These hashes in a few words: those that change with a value, as `moves` lists them."""
    if "data_hash" in hashes:
        return "every hash"
    models = [name for name in hashes if name.startswith("model_hash")]
    others = [name for name in hashes if name not in models]
    few = len(models) == 1 or (len(models) == 2 and f"model_hash({ENSEMBLE})" in models)
    return ", ".join([*(models if few else ["every model_hash"] * bool(models)), *others]) or "nothing"


class _Paths:
    """Stands in for a Spec: every leaf of its identity is the leaf's own path."""

    def __init__(self, spec: Spec) -> None:
        self._tree = _named(spec.hashable(), "")
        self.all = set(_leaves(self._tree))

    def identity(self) -> dict[str, Any]:
        tree: dict[str, Any] = self._tree
        return tree


def _named(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _named(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    return path


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value


@dataclass(frozen=True)
class Difference:
    """One leaf in which two structures differ; `ABSENT` stands for a missing side."""

    path: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.path} {_shown(self.a)} → {_shown(self.b)}"


ABSENT = type("Absent", (), {"__repr__": lambda self: "(absent)"})()


def _shown(value: Any) -> str:
    return repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)


def explain(a: Any, b: Any) -> list[Difference]:
    """The leaves in which two JSON structures differ, sorted by path; empty exactly when the hashes agree."""
    return sorted(_differences(a, b, ""), key=lambda d: d.path)


def _differences(a: Any, b: Any, path: str) -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in {*a, *b}:
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(a.get(key, ABSENT), b.get(key, ABSENT), below)
    elif a is ABSENT or b is ABSENT or canonical_json(a) != canonical_json(b):
        yield Difference(path, a, b)
