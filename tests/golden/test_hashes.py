"""Hashes that must never change: the first system's, and those of three Specs of version 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flts.contracts.canonical import canonical_json, digest, sha256
from flts.spec.lineage import RawDigests, Versions, data_fields, explain, identify
from flts.spec.models import DEFAULT_MODELS
from flts.spec.sources import validate

GOLDEN = json.loads((Path(__file__).parent / "hashes.json").read_text())


def first_system(salt: str, test_rows: int) -> dict[str, Any]:
    """The object whose SHA-256 the first system called its configuration."""
    return {
        "_data": {
            "sample_strategy": "head",
            "sample_test_rows": test_rows,
            "sample_train_rows": 50,
            "test_file": "PobleSec_test.csv",
            "train_file": "PobleSec.csv",
        },
        "extra": {"hash_salt": salt},
        "handle_nans": {"drop_rows": False, "enabled": True, "knn_neighbors": 2, "threshold": 0.33},
        "lags": {"enabled": False, "n_lags": 0, "step": 1},
        "outliers": {"enabled": False, "factor": 1.5, "method": "iqr"},
        "scaling": {"add_constant": None, "method": "MinMaxScaler"},
        "time_features": {"enabled": True},
    }


@pytest.mark.parametrize(
    ("salt", "test_rows", "expected"),
    [
        ("forceInfer1", 50, "8999be31be63d86d0bfcd155ea74a56b6192a9dfa2490f077d019571a6deed1f"),
        ("v2_prophet_fix", 30, "6e59091b036af4edf0d03fabbfc167080accb7b998b442a8dfe4b16d0c991dcb"),
        ("v2_prophet_fix", 50, "9a8424a458ea2769a3de09c96c411b06c82a61400746bd2aa00b4b2583f3ed7e"),
    ],
)
def test_canonical_json_reproduces_the_hashes_of_the_first_system(salt: str, test_rows: int, expected: str) -> None:
    assert sha256(canonical_json(first_system(salt, test_rows))) == expected


def test_explain_names_the_differences_of_the_docker_run_and_the_kubernetes_run() -> None:
    docker, kubernetes = first_system("forceInfer1", 50), first_system("v2_prophet_fix", 30)
    assert [str(d) for d in explain(docker, kubernetes)] == [
        "_data.sample_test_rows 50 → 30",
        'extra.hash_salt "forceInfer1" → "v2_prophet_fix"',
    ]


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_hashes_of_a_spec_never_change(name: str) -> None:
    case = GOLDEN[name]
    raw = RawDigests(**case["raw"])
    spec = validate(case["spec"])
    data_hash = digest(data_fields(spec, raw, version=2))
    versions = Versions(2, dict.fromkeys(DEFAULT_MODELS, 2), 2, 2)
    identity = identify(spec, data_hash, versions)
    found = {
        "data_hash": identity.data_hash,
        "windows_hash": identity.windows_hash,
        "config_hash": identity.config_hash,
        "model_hashes": dict(identity.model_hashes),
    }
    assert found == case["hashes"]
