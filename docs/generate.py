"""Write docs/reference from the code: `make docs`. A test fails when a page is not what this would write."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from flts.backends.store import memory_store
from flts.contracts import errors, records
from flts.contracts.messages import TOPICS, Message
from flts.contracts.records.base import Part, StoredRecord
from flts.report.evidence import RunRecord
from flts.settings import Settings
from flts.spec.fields import Spec
from flts.spec.lineage import moves, short
from flts.spec.models import Models
from flts.spec.sources import validate
from flts.spec.table import table_in
from flts.verification.evidence import RunEvidence
from flts.verification.report import Report, sections_of

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- written by docs/generate.py from the code; change it there -->\n"


def pages() -> dict[str, str]:
    """Name and text of every generated page."""
    return {
        "spec.md": _spec_page(),
        "settings.md": _settings_page(),
        "errors.md": _errors_page(),
        "records.schema.json": _records_schema(),
        "report.schema.json": _report_schema(),
        "claims.md": _claims_page(),
    }


def main() -> None:
    """Write them."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


def _spec_page() -> str:
    everyone: dict[str, dict[str, Any]] = {name: {} for name in Models.model_fields}
    moved = moves(validate({"dataset": {"targets": ["y"]}, "models": everyone}))
    lines = [
        NOTE,
        "# flts.toml\n",
        "Every value, its default, and the hashes that change with it where it has an effect. An unknown key is an",
        "error. The same keys work as `--set sample.train_rows=50` and as `FLTS_SPEC__SAMPLE__TRAIN_ROWS=50`; flags",
        "win over the environment, the environment over the file. A table `[models.NAME]` may also be that of a family",
        "that another installed package brings; `flts config schema` describes those, too. Where a model wants one",
        "number, a list such as `learning_rate = [1e-4, 1e-3]` is a grid: each combination is fitted, and the",
        "validation windows choose one ([how](../architecture.md#search)).\n",
        *_table(Spec, "", moved),
    ]
    return "\n".join(lines) + "\n"


def _table(table: type[BaseModel], path: str, moved: dict[str, tuple[str, ...]]) -> list[str]:
    values, tables = [], []
    for name, field in table.model_fields.items():
        below = f"{path}.{name}" if path else name
        inner = table_in(field.annotation)
        if inner is not None:
            tables += [f"\n## [{below}]\n", inner.__doc__ or "", *_table(inner, below, moved)]
            continue
        default = json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False)
        values.append(f"| `{name}` | `{default}` | {_line(field.description)} | {short(moved.get(below, ()))} |")
    head = ["", "| key | default | what it is | moves |", "|---|---|---|---|"] if values else []
    return [*head, *values, *tables]


def _line(description: str | None) -> str:
    """A table has room for one line."""
    return " ".join((description or "").split())


def _settings_page() -> str:
    lines = [
        NOTE,
        "# Settings\n",
        "Where things are and how many run side by side. None of them can change a number, and none is hashed. Each",
        "can stand in `flts-settings.toml` (or the file that FLTS_SETTINGS_FILE names) or in the environment; flags of",
        "the command line win. A name that is almost one of these is refused; what else begins with `FLTS_` in the",
        "environment, such as Kubernetes' names of services, is left alone.\n",
        "| setting | environment | default | what it is |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = json.dumps(field.default, default=str)
        lines.append(f"| `{name}` | `FLTS_{name.upper()}` | `{default}` | {_line(field.description)} |")
    return "\n".join(lines) + "\n"


def _errors_page() -> str:
    lines = [
        NOTE,
        "# Errors\n",
        "Everything that FLTS raises on purpose, as `flts.NAME`. `str(error)` is a sentence for people and may be",
        "reworded. Programs read `error.code`, a stable word, and `error.data`, the values behind the sentence, such",
        "as file, column, row or key. The command line prints the sentence and ends with the exit code.\n",
        "```python",
        "try:",
        '    result = flts.run("flts.toml")',
        "except flts.Transient:",
        "    ...  # try again later",
        "except flts.DataError as error:",
        '    print(error.code, error.data.get("file"), error.data.get("column"))',
        "```\n",
        "| error | is a | exit code | what it means |",
        "|---|---|---|---|",
    ]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FltsError)]
    for kind in kinds:
        parent = kind.__mro__[1].__name__
        meaning = _line((inspect.getdoc(kind) or "").partition("\n\n")[0])
        lines.append(f"| `{kind.__name__}` | `{parent}` | {kind.exit_code} | {meaning} |")
    return "\n".join(lines) + "\n"


class _Plain(GenerateJsonSchema):
    """Without titles, which repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def _records_schema() -> str:
    """The schema of every record, of the parts that no record contains, and of every message, as they are written."""
    schema = _schema(
        (*_parts(), *TOPICS.values()),
        "What FLTS stores and sends",
        "One definition for each stored record and each message, of the version that this FLTS writes; each says"
        " under which key its object lies, or is the message of one topic. RunRecord is what `flts runs show"
        " --json` prints. Records of older versions are read, too. The experiment has a schema of its own:"
        " `flts config schema`.",
    )
    for topic, message in TOPICS.items():
        definition = schema["$defs"][message.__name__]
        definition["description"] = f"Topic `{topic}`: {definition['description']}"
        text = inspect.getdoc(Message.event_id)
        definition["properties"]["event_id"] = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": text}
    return _written(schema)


def _report_schema() -> str:
    """The schema of a report and of everything in it."""
    schema = _schema(
        (Report,),
        "A report of `flts verify`",
        "What `report.json` holds, which `flts verify --json` prints as well. The ids of the claims are in claims.md.",
    )
    return _written({"$ref": f"#/$defs/{Report.__name__}", **schema})


def _schema(kinds: Sequence[type[BaseModel]], title: str, description: str) -> dict[str, Any]:
    """A definition for each kind and all that they contain, with what the source says of their fields."""
    _, schema = models_json_schema(
        [(kind, "validation") for kind in kinds],
        by_alias=True,
        schema_generator=_Plain,
        title=title,
        description=description,
    )
    for kind in dict.fromkeys(_below(Part)):
        definition = schema["$defs"].get(kind.__name__)
        if definition is None:
            continue
        for name, text in _described(kind):
            definition["properties"][kind.model_fields[name].validation_alias or name]["description"] = text
        if issubclass(kind, StoredRecord):
            definition["required"] = ["v", *definition.get("required", [])]
    return schema


def _written(schema: dict[str, Any]) -> str:
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _below(kind: type[Part]) -> Iterator[type[Part]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _parts() -> list[type[Part]]:
    """Every record and part of one, by name."""
    kinds: dict[str, type[Part]] = {"RunRecord": RunRecord}
    for module in pkgutil.iter_modules(records.__path__, f"{records.__name__}."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, Part) and kind not in {Part, StoredRecord}:
                kinds[kind.__name__] = kind
    return [kinds[name] for name in sorted(kinds)]


def _described(kind: type[Part]) -> Iterator[tuple[str, str]]:
    """The fields of a part that have a description below them in the source, also inherited ones."""
    for parent in reversed(kind.__mro__[: kind.__mro__.index(Part)]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))) if (
                    name in kind.model_fields
                ):
                    yield name, _line(text)


class _AnyRun(RunEvidence):
    """A run of a model called MODEL in scope 'global', of which nothing is known."""

    models = ("MODEL",)
    scope = "global"


def _claims_page() -> str:
    evidence = _AnyRun(memory_store(), "0" * 64, 1)
    lines = [
        NOTE,
        "# Claims\n",
        "What [`flts verify`](../verify.md) claims of a run, in the order of the pipeline. The ids are a contract:",
        "they are the same in every file of a report, and in `--claim`, `--require` and `--expect`. MODEL is the name",
        "of a model of the run. A claim of `--expect` is `expect.N.CLAIM`, where N is its place in the file. A run of",
        "`--compare` has the claims `comparison.N.experiment`, `comparison.N.result` and `comparison.N.duration`,",
        "between those of the promotion and of the event chain, where N is its place on the command line.",
    ]
    for section in filter(lambda section: section.checks, sections_of(evidence)):
        lines += ["", f"## {section.title}", "", "| id | claim |", "|---|---|"]
        lines += [f"| `{check.id}` | {check.says} |" for check in section.checks]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
