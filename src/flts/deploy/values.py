"""The experiment that the chart mounts for its values, without Helm.

The templates in deploy/helm/flts/templates/_spec.tpl write the same text; a test compares the two byte by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

from flts.contracts.errors import MissingExtra, UsageError
from flts.spec.sources import read_text

Values = Mapping[str, Any]

FILLED: Mapping[str, tuple[str, str]] = {
    "sampleTrainRows": ("sample", "train_rows"),
    "sampleTestRows": ("sample", "test_rows"),
    "sampleStrategy": ("sample", "strategy"),
    "sampleSeed": ("sample", "seed"),
    "extraHashSalt": ("preprocess", "hash_salt"),
    "datasetName": ("dataset", "name"),
}
"""The keys of `preprocess` and the table and key of flts.toml that each fills."""
COUNTS = ("sampleTrainRows", "sampleTestRows", "sampleSeed")
"""Those of them that may be digits in quotes."""
DIGITS = re.compile(r"0|[1-9][0-9]{0,14}")
BARE = re.compile(r"[A-Za-z0-9_-]+")
EXACT = 2**53 - 1
"""The largest whole number that Helm passes on without a change."""
SMALL = 1e-6
"""Below it, JSON in Go has an exponent."""
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")


def read_values(files: Sequence[Path]) -> dict[str, Any]:
    """The values of several files, later ones over earlier ones, as Helm merges them. Raises UsageError."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = _merged(merged, _parsed(file))
    return merged


def experiment(values: Values) -> str:
    """The text of the flts.toml that the chart mounts: one line for each value.

    Raises UsageError for a value in two places, for a whole number that Helm would change, and for what is no table.
    """
    spec = deepcopy(dict(_table(values, "spec")))
    for key, (table, name) in FILLED.items():
        given = _table(values, "preprocess").get(key)
        if given is None or given == "":
            continue
        below = _table(spec, table, "spec.")
        if below.get(name) is not None:
            raise UsageError(
                f"preprocess.{key} and spec.{table}.{name} are the same value; keep one of them",
                code="value-twice",
                key=[f"preprocess.{key}", f"spec.{table}.{name}"],
            )
        if key in COUNTS and isinstance(given, str) and DIGITS.fullmatch(given):
            given = int(given)
        spec[table] = {**below, name: given}
    return "".join(f"{line}\n" for line in _lines(spec, "", "spec"))


def _table(values: Values, name: str, path: str = "") -> Values:
    """A table of values, empty where it is absent. path: what to say before its name."""
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        said = json.dumps(found, default=str)
        raise UsageError(f"{path}{name}: is {said}, not a table of keys", code="not-a-table", key=f"{path}{name}")
    return found


def _lines(table: Values, path: str, key: str) -> Iterator[str]:
    for name in sorted(table):
        value, word = table[name], name if BARE.fullmatch(name) else _text(name)
        below = f"{path}.{word}" if path else word
        if value is None:
            continue
        if isinstance(value, Mapping) and value:
            yield from _lines(value, below, f"{key}.{name}")
        else:
            yield f"{below} = {_toml(value, f'{key}.{name}')}"


def _toml(value: Any, key: str) -> str:
    if isinstance(value, Mapping):
        items = (f"{_text(name)} = {_toml(value[name], f'{key}.{name}')}" for name in sorted(value))
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item, f'{key}[{at}]') for at, item in enumerate(value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(value, key)
    if isinstance(value, str):
        return _text(value)
    raise UsageError(f"{key}: null is no value of flts.toml", code="value-null", key=key)


def _number(value: float, key: str) -> str:
    """As JSON in Go writes it: the shortest digits that give the same number, a whole one without a point."""
    if not abs(value) <= EXACT:
        raise UsageError(
            f"{key}: a number beyond 2^53 - 1 does not arrive exact; write it in quotes",
            code="number-not-exact",
            key=key,
            found=str(value),
        )
    if isinstance(value, int):
        return str(value)
    if value and abs(value) < SMALL:
        return repr(value).replace("e-0", "e-")
    digits = format(Decimal(repr(value)), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _text(text: str) -> str:
    """A string of JSON as Go writes it, which is one of TOML, too."""
    escapes = {character: f"\\u{character:04x}" for character in map(ord, "<>&\u2028\u2029\x7f")}
    return json.dumps(text, ensure_ascii=False).translate(escapes)


def _merged(below: Values, above: Values) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        older = merged.get(key)
        if value is None and key in merged:
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(older, Mapping):
            merged[key] = _merged(older, value)
        else:
            merged[key] = value
    return merged


def _parsed(file: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtra("reading the values of a chart", "deploy") from None
    try:
        text = read_text(file, "--values names a file of values, --chart the folder of the chart", "values.yaml")
        found = yaml.load(text, Loader=_loader())  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: is not valid YAML: {error}", code="not-yaml", file=str(file)) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{file}: holds no table of values", code="not-values", file=str(file))
    try:
        named: dict[str, Any] = _named(found)
    except RecursionError:
        raise UsageError(f"{file}: its values are nested too deep", code="nested-too-deep", file=str(file)) from None
    return named


def _named(value: Any) -> Any:
    """A value in which every key is text, as Helm reads it."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(key, default=str): _named(v) for key, v in value.items()}
    return [_named(item) for item in value] if isinstance(value, list) else value


def _loader() -> Any:
    """PyYAML's safe loader with the numbers of Helm's: 1e-3 is one, and neither 1:30 nor a date is."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - as the class it is derived from
            first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] not in {"int", "float", "timestamp"}]
            for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:int", INTEGER, list("-+0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
    return Loader
