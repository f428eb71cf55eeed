"""Read the Spec from its four sources and remember where each value came from.

Precedence: defaults < flts.toml < environment (FLTS_SPEC__SAMPLE__TRAIN_ROWS=50) < flags (--set sample.train_rows=50).
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from flts.contracts.errors import SpecError, UsageError, nearest
from flts.spec.dataset import Dataset
from flts.spec.fields import Spec
from flts.spec.installed import NAME, installed_families
from flts.spec.models import Models, models_with, parameters_of
from flts.spec.table import table_in

ENV_PREFIX = "FLTS_SPEC__"
MOST_LEVELS = 20
"""Tables within tables; those of a Spec have three levels, and a family of another package may have more."""
VERSION: int = Spec.model_fields["v"].default
"""The version of flts.toml that this flts reads."""


@dataclass(frozen=True)
class LoadedSpec:
    """A valid Spec, the source of every value that is not a default, and the folder its paths are relative to."""

    spec: Spec
    origins: Mapping[str, str]
    folder: Path


@dataclass
class _Layers:
    """Nested values merged one source after the other; `origins` keeps the last source of each leaf."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, path: Sequence[str], value: Any, origin: str) -> None:
        if len(path) > MOST_LEVELS:
            raise SpecError(
                f"{origin}: the key {'.'.join(path[:3])}… has more than {MOST_LEVELS} parts", code="nested-too-deep"
            )
        if isinstance(value, Mapping):
            self._table(path, origin)
            if path and not value:
                self.origins[".".join(path)] = origin  # an empty table counts: [models.gru] names a candidate
            for key, item in value.items():
                self.put([*path, str(key)], item, origin)
            return
        self._table(path[:-1], origin)[path[-1]] = value
        self.origins[".".join(path)] = origin

    def _table(self, path: Sequence[str], origin: str) -> dict[str, Any]:
        table = self.values
        for depth, key in enumerate(path, 1):
            below = table.setdefault(key, {})
            if not isinstance(below, dict):
                name = ".".join(path[:depth])
                raise SpecError(
                    f"{origin}: '{name}' is a value in {self.origins[name]}, but a table here",
                    code="value-or-table",
                    key=name,
                    source=[self.origins[name], origin],
                )
            table = below
        return table


def load_spec(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    source: str | None = None,
    models: Sequence[str] | None = None,
) -> LoadedSpec:
    """The Spec of a file, the environment and flags, validated.

    `overrides` are `key.path=value` with TOML values; `source` replaces dataset.source and is relative to the working
    directory; `models` keeps only these candidates. Raises SpecError that names the key, its source, the value found
    and the values that fit.

    >>> loaded = flts.load_spec("flts.toml", overrides=["task.horizon=6"])
    >>> loaded.spec.task.horizon, loaded.origins["task.horizon"]
    (6, 'flag --set task.horizon')
    """
    layers = _written(path, environ or {})
    folder = Path.cwd() if path is None else Path(path).resolve().parent
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set {item}: write key=value, for instance --set sample.train_rows=50",
                code="set-invalid",
                found=item,
            )
        key_path = key.strip().split(".")
        layers.put(key_path, _value(key_path, text), f"flag --set {key.strip()}")
    if source is not None:
        located = source if "://" in source else str(Path(source).resolve())
        layers.put(["dataset", "source"], located, "flag --source")
    if models is not None:
        _keep_models(layers, models)
    return LoadedSpec(validate(layers.values, layers.origins), layers.origins, folder)


def written_dataset(
    path: Path | None, environ: Mapping[str, str], keys: Container[str]
) -> tuple[Dataset, Mapping[str, str]] | None:
    """What a file and the environment give an experiment under these keys of [dataset], and which of them does by key.

    None where neither does. Nothing else is looked at: a champion answers where the models of the file are not
    installed. Raises SpecError for a file that cannot be read, and for a value that does not fit.
    """
    layers = _written(path, environ)
    table = layers.values.get("dataset")
    if isinstance(table, Mapping):  # validate() refuses anything else
        table = {key: value for key, value in table.items() if key in keys}
    if path is None and not table:
        return None
    return validate({"dataset": table or {}}, layers.origins).dataset, layers.origins


def _written(path: Path | str | None, environ: Mapping[str, str]) -> _Layers:
    """What a file and the environment say, one over the other."""
    layers = _Layers()
    if path is not None:
        layers.put([], parse_toml(read_text(Path(path)), str(path)), str(path))
    for name, text in sorted(environ.items()):
        if name.startswith(ENV_PREFIX):
            key_path = name.removeprefix(ENV_PREFIX).lower().split("__")
            layers.put(key_path, _value(key_path, text), f"environment {name}")
    return layers


def read_text(
    path: Path, about: str = "`flts run FILE` reads an experiment from a TOML file", inside: str = "flts.toml"
) -> str:
    """The text of a file. Raises SpecError for one that cannot be read.

    about: what to know where it is absent; inside: the name that it would have in a folder.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise SpecError(
            f"{path}: no such file; {about}",
            code="file-missing",
            file=str(path),
        ) from None
    except IsADirectoryError:
        raise SpecError(
            f"{path}: is a folder; name the file in it, such as {path / inside}",
            code="not-a-file",
            file=str(path),
        ) from None
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: is not UTF-8 text (byte {error.start})", code="wrong-encoding", file=str(path), byte=error.start
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}", code="file-unreadable", file=str(path)) from None


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """The values in the text of an experiment. Raises SpecError naming the file."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SpecError(f"{file}: its values are nested too deep", code="nested-too-deep", file=file) from None
    except ValueError as error:  # also for a number of thousands of digits
        raise SpecError(f"{file}: is not valid TOML: {error}", code="not-toml", file=file) from None


def _value(path: Sequence[str], text: str) -> Any:
    """A TOML value, or the text itself: `--set run.seed=7` is a number, `--set dataset.name=2018` a name."""
    try:
        read = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise SpecError(
            f"{'.'.join(path)}: its value is nested too deep", code="nested-too-deep", key=".".join(path)
        ) from None
    except ValueError:
        return text.strip()
    value = read["value"]
    info = _field(path)
    meant_as_text = info is not None and info.annotation is str and not isinstance(value, str)
    return text.strip() if meant_as_text or len(read) > 1 else value


def _keep_models(layers: _Layers, names: Sequence[str]) -> None:
    for name in names:
        if name not in Models.model_fields and name not in installed_families():
            raise SpecError(
                f"--models: unknown model '{name}'; {nearest(name, _names_in(Models))}",
                code="model-unknown",
                found=name,
            )
    if not names:
        raise SpecError("--models: name at least one model, for instance --models ridge,gru", code="no-models")
    tables = layers.values.get("models", {})
    if isinstance(tables, Mapping):  # validate() refuses anything else and names its source
        layers.values["models"] = {name: tables.get(name, {}) for name in names}
        layers.origins["models"] = "flag --models"


def validate(values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Spec:
    """A Spec from nested plain values. Raises SpecError with one line and one `key` of its data per fault."""
    if isinstance(values, Mapping):  # anything else is refused below
        _refuse_other_version(values.get("v"), (origins or {}).get("v", ""))
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        faults = [_Fault(item) for item in error.errors()]
        code = "key-unknown" if all(fault.unknown for fault in faults) else "value-invalid"
        text = "\n".join(fault.line(origins or {}) for fault in faults)
        raise SpecError(text, code=code, key=[fault.key for fault in faults]) from None


def _refuse_other_version(found: Any, origin: str) -> None:
    """Raise SpecError for a version that another flts reads. Anything else but the current version fits no field."""
    if type(found) is not int or found < 1 or found == VERSION:
        return
    where = f"{origin}: " if origin else ""
    file = shlex.quote(origin) if Path(origin).is_file() else "FILE"
    what = (
        f"an older version of the format, and this flts reads version {VERSION}; `flts config upgrade {file}` brings"
        " the file to it"
        if found < VERSION
        else f"a newer version of the format, and this flts reads version {VERSION}; use a newer flts"
    )
    raise SpecError(
        f"{where}v = {found} is {what}", code="spec-version", key=["v"], source=origin, found=found, expected=VERSION
    )


def not_installed(values: Mapping[str, Any]) -> list[str]:
    """The models in these values whose family neither FLTS nor an installed distribution has."""
    known = {*Models.model_fields, *installed_families()}
    return [name for name in _other_models(values) if name not in known]


def validate_as_stored(values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Spec:
    """A Spec of any version, to show and not to run: tables of families that are not of FLTS stay plain values.

    Raises SpecError as `validate` does.
    """
    for older, upgrade in sorted(Spec.upgrades.items()):
        if type(values.get("v")) is int and values["v"] == older:
            values = {**upgrade(dict(values)), "v": older + 1}
    others = _other_models(values)
    if not others:
        return validate(values, origins)
    fields: dict[str, Any] = dict.fromkeys(others, (Any, None))
    try:
        models = create_model("Models", __base__=Models, **fields).model_validate(values["models"])
    except ValidationError:  # of a table of FLTS, for those are the only ones with rules: name it
        return validate({**values, "models": {k: v for k, v in values["models"].items() if k not in others}}, origins)
    return validate({**values, "models": models}, origins)


def _other_models(values: Mapping[str, Any]) -> list[str]:
    tables = values.get("models")
    names = sorted(tables) if isinstance(tables, Mapping) else []
    return [name for name in names if name not in Models.model_fields and NAME.fullmatch(name)]


def json_schema() -> dict[str, Any]:
    """JSON Schema of flts.toml with the tables of installed families; one that cannot be loaded may hold anything."""
    usable, broken = [], {}
    for name, family in installed_families().items():
        try:
            parameters_of(family)
            usable.append(name)
        except UsageError as error:
            broken[name] = str(error)
    # a broken family is an error only where an experiment names it
    fields: dict[str, Any] = {
        name: (dict[str, Any] | None, Field(default=None, description=reason)) for name, reason in broken.items()
    }
    models = create_model("Models", __base__=models_with(usable), __doc__=Models.__doc__, **fields)
    whole = create_model("Spec", __base__=Spec, __doc__=Spec.__doc__, models=(models, Spec.model_fields["models"]))
    return whole.model_json_schema()


class _Fault:
    """One fault of a Spec, as pydantic reports it."""

    def __init__(self, item: Any) -> None:
        self._item = item
        self.unknown = item["type"] == "extra_forbidden"
        self._path = [*_keys(item["loc"][:-1]), str(item["loc"][-1])] if self.unknown else _keys(item["loc"])
        self.key = ".".join(self._path)

    def line(self, origins: Mapping[str, str]) -> str:
        """Where the value was written, its key, what was found and what fits."""
        source = self._source(origins)
        prefix = f"{source}: " if source else ""
        if self.unknown:
            return f"{prefix}unknown key '{self.key}'; {nearest(self._path[-1], _keys_of(self._path[:-1]))}"
        message = str(self._item["msg"]).removeprefix("Value error, ")
        value = self._item["input"]
        named = self._item["type"] == "value_error" or isinstance(value, Mapping)
        found = "" if named else f" (found {value!r})"
        return f"{prefix}{self.key}: {message}{found}"

    def _source(self, origins: Mapping[str, str]) -> str:
        """The source of the key or of the table around it, or else of the keys in it."""
        tables = (".".join(self._path[:n]) for n in range(len(self._path), 0, -1))
        below = dict.fromkeys(o for p, o in origins.items() if p.startswith(f"{self.key}."))
        return next((origins[p] for p in tables if p in origins), ", ".join(below))


def _keys(location: Sequence[str | int]) -> list[str]:
    """The keys in a location; pydantic also lists which branch of a union it tried, such as 'float'."""
    keys: list[str] = []
    for part in location:
        if isinstance(part, int) or _field([*keys, part]) is not None:
            keys.append(str(part))
    return keys


def _keys_of(path: Sequence[str]) -> list[str]:
    info = _field(path)
    table = Spec if info is None else table_in(info.annotation)
    return _names_in(table) if table else []


def _names_in(table: type[BaseModel]) -> list[str]:
    return [*table.model_fields, *(installed_families() if table is Models else ())]


def _field(path: Sequence[str]) -> FieldInfo | None:
    """The field of the Spec under these keys; None for the Spec itself and for keys that it does not have."""
    table: type[BaseModel] | None = Spec
    info = None
    for key in path:
        info = _field_in(table, key) if table else None
        table = table_in(info.annotation) if info else None
    return info


def _field_in(table: type[BaseModel], key: str) -> FieldInfo | None:
    if table is Models and key not in Models.model_fields and key in installed_families():
        return models_with([key]).model_fields[key]
    return table.model_fields.get(key)
