"""Write what the chart has from the code and from the comments of its values: `make chart`.

values.schema.json, README.md, files/default-models.json and copies of deploy/monitoring; a test fails when one is not
what this would write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from flts.backends.kafka_client import OURS, SECRETS
from flts.spec.fields import Spec
from flts.spec.installed import LONGEST
from flts.spec.installed import NAME as FAMILY

CHART = Path(__file__).parent / "flts"
MONITORING = Path(__file__).parents[1] / "monitoring"
COPIES = ("rules.yml", *(f"dashboards/{name}.json" for name in ("evaluation", "pipeline", "serving")))
"""Files that Helm reads, which it does from the folder of the chart alone."""
DIGITS: Mapping[str, Any] = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]*$"}]}
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
OBJECTS: Mapping[str, Any] = {"type": "array", "items": ANY_OBJECT}
TEXTS: Mapping[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
TEXT_LIST: Mapping[str, Any] = {"type": "array", "items": {"type": "string"}}
NAME: Mapping[str, Any] = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 1}
PORT: Mapping[str, Any] = {**COUNT, "maximum": 65535}
URL: Mapping[str, Any] = {"type": "string", "pattern": r"^(https?://[^/?@\s]+[^?@\s]*)?$"}
QUANTITIES: Mapping[str, Any] = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
RESOURCES: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["requests", "limits"],
    "properties": {
        "requests": {**QUANTITIES, "required": ["cpu", "memory"]},
        "limits": {**QUANTITIES, "required": ["cpu", "memory"]},
    },
}
OF_ONE_MODEL: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "replicas": {"type": "integer", "minimum": 0},
        "resources": {**RESOURCES, "required": []},
        **dict.fromkeys(("nodeSelector", "affinity"), ANY_OBJECT),
        "tolerations": OBJECTS,
        "priorityClassName": {"type": "string"},
        **dict.fromkeys(("podLabels", "podAnnotations"), TEXTS),
    },
}
OF_ONE_MODEL["properties"]["resources"]["properties"] = {"requests": QUANTITIES, "limits": QUANTITIES}
RULES: Mapping[str, Any] = {
    **{f"preprocess.{name}": DIGITS for name in ("sampleTrainRows", "sampleTestRows", "sampleSeed")},
    "preprocess.sampleStrategy": {"enum": ["", "head", "tail", "random"]},
    "preprocess.forceReprocess": {"type": ["string", "integer"]},
    "image.repository": {"type": "string", "pattern": r"^([^/:@\s]+(:[0-9]+)?/)*[^/:@\s]+$"},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "serve.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "serve.variant": {"enum": ["all", "serve"]},
    "image.pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "environment": {"type": "string", "pattern": "^([a-z0-9][a-z0-9._-]{0,62})?$"},
    "s3.store": {"type": "string", "pattern": "^s3://"},
    "kafka.replication": {"type": "integer", "minimum": -1},
    "kafka.external.brokers": {"type": "string", "pattern": r"^([^/@,\s]+:[0-9]+(,[^/@,\s]+:[0-9]+)*)?$"},
    # a password has a Secret, and what FLTS sets itself would end every pod at its start
    "kafka.external.options": {**TEXTS, "propertyNames": {"not": {"enum": [*SECRETS, *OURS]}}},
    "s3.external.endpoint": {"type": "string", "pattern": r"^(https?://[^/?@\s]+/?)?$"},
    "mlflow.external.uri": URL,
    "serve.scopes": TEXT_LIST,
    "serve.autoscaling.by": {"enum": ["cpu", "adapter", "keda"]},
    "serve.autoscaling.prometheus": URL,
    **{f"{name}.autoscaling.minReplicas": COUNT for name in ("gateway", "serve")},
    "trainers.autoscaling.kind": {"enum": ["ScaledJob", "ScaledObject"]},
    "load.scenario": {"enum": ["steady", "step", "spike", "soak"]},
    "monitoring.without": TEXT_LIST,
    "monitoring.labels": TEXTS,
    "networkPolicy.apiServer.cidrs": TEXT_LIST,
    "networkPolicy.apiServer.ports": {"type": "array", "items": PORT},
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"]},
    "trainers.perModel": {"type": "object", "additionalProperties": OF_ONE_MODEL},
    "nameOverride": NAME,
    "fullnameOverride": NAME,
    "listen": {"enum": ["0.0.0.0", "::"]},  # noqa: S104 - a choice, not bound
    "podSecurity.uid": {"type": ["integer", "null"], "minimum": 1},
    "load.podSecurity.uid": COUNT,
    "commonLabels": TEXTS,
    "commonAnnotations": TEXTS,
}
"""Rules of single keys that say more than the type of their default."""
RULES_OF_NAMES: Mapping[str, Any] = {
    "resources": RESOURCES,
    "nodeSelector": TEXTS,
    "podLabels": TEXTS,
    "podAnnotations": TEXTS,
    "annotations": TEXTS,
    "type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "port": PORT,
    **dict.fromkeys(("partitions", "maxReplicas", "lag", "inFlight", "targetCPU", "rate"), COUNT),
    **dict.fromkeys(("seconds", "idleSeconds", "timeoutSeconds", "trainTimeoutSeconds"), COUNT),
}
"""Rules of keys that several tables have."""


def files() -> dict[str, str]:
    """Path within the chart and text of every generated file."""
    text = (CHART / "values.yaml").read_text()
    return {
        "values.schema.json": json.dumps(schema(yaml.safe_load(text)), indent=1) + "\n",
        "files/default-models.json": json.dumps(Spec().trained) + "\n",
        "README.md": readme(text),
        **{f"files/{name}": (MONITORING / name).read_text() for name in COPIES},
        "files/locustfile.py": (CHART.parents[1] / "locustfile.py").read_text(),
    }


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (CHART / name).write_text(text)


def schema(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema (draft 7) of the values: no unknown keys, the types of the defaults, the rules above."""
    spec = Spec.model_json_schema(ref_template="#/definitions/{model}")
    definitions = {name: _in_values(table) for name, table in spec.pop("$defs").items()}
    definitions["Models"]["additionalProperties"] = ANY_OBJECT  # families of other packages
    # objects, labels and groups are named after them
    definitions["Models"]["propertyNames"] = {"pattern": f"^{FAMILY.pattern}$", "maxLength": LONGEST}
    whole = _of_table(values, "")
    whole["properties"] |= {
        "spec": _in_values(spec),
        "global": ANY_OBJECT,  # a parent chart sets these two
        "enabled": {"type": "boolean"},
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": definitions, **whole}


def _of_table(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    below = {name: _of(value, f"{path}.{name}" if path else name) for name, value in values.items()}
    # null takes a default away: what is empty stays empty, and everything else would be rendered as nothing
    needed = [
        name for name, rule in below.items() if values[name] not in ("", [], {}) and "null" not in rule.get("type", ())
    ]
    return {"type": "object", "additionalProperties": False, "required": needed, "properties": below}


def _of(value: Any, path: str) -> Mapping[str, Any]:
    rule = RULES.get(path) or RULES_OF_NAMES.get(path.rpartition(".")[2])
    if rule is not None:
        return dict(rule)
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer", "minimum": 0}
    if isinstance(value, str):
        return {"type": "string"}
    if isinstance(value, list):
        return OBJECTS
    return _of_table(value, path) if value else ANY_OBJECT


def _in_values(node: Any) -> Any:
    """The schema of flts.toml as values have it: a number may also be text, as --set and quotes make it."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_in_values(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    inner = {name: _in_values(item) for name, item in node.items() if name not in {"default", "title", "description"}}
    if "properties" in node:
        inner["properties"] = {name: _in_values(item) for name, item in node["properties"].items()}
    if node.get("type") in {"integer", "number"} and "const" not in node:
        return {"anyOf": [inner, {"type": "string", "pattern": r"^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$"}]}
    return inner


class Key(NamedTuple):
    """One value of values.yaml."""

    path: str
    default: str
    about: str


def keys(text: str) -> Iterator[Key]:
    """Every key with a default or a comment, in the order of the file."""
    path: list[str] = []
    about: list[str] = []
    for line in text.splitlines():
        if comment := re.fullmatch(r" *# ?(.*)", line):
            about.append(comment[1])
        elif entry := re.fullmatch(r"( *)([A-Za-z0-9]+):(?: (.*))?", line):
            path = [*path[: len(entry[1]) // 2], entry[2]]
            if entry[3] or about:
                yield Key(".".join(path), entry[3] or "", " ".join(about))
            about = []
        else:
            about = []


def readme(text: str) -> str:
    """README.md of the chart."""
    rows = [f"| `{key.path}` | {f'`{key.default}`' if key.default else ''} | {key.about} |" for key in keys(text)]
    head = (CHART / "README.head.md").read_text()
    return "\n".join([head, "| key | default | what it is |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    main()
