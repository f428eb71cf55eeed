"""The keys of objects, which other programs rely on."""

from __future__ import annotations

import pytest

from flts.contracts import layout

C, D, M, W, B = "c" * 64, "d" * 64, "m" * 64, "w" * 64, "b" * 64


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (layout.spec(C), f"specs/{C}.json"),
        (layout.known_input(D), f"processed-data/by-input/{D}.json"),
        (layout.train_rows(D), f"processed-data/{D}/train.parquet"),
        (layout.test_rows(D), f"processed-data/{D}/test.parquet"),
        (layout.meta(D), f"processed-data/{D}/meta.json"),
        (layout.bundle(B, "manifest.json"), f"bundles/{B}/manifest.json"),
        (layout.model_result(M), f"models/{M}/result.json"),
        (layout.validation(M), f"models/{M}/validation.parquet"),
        (layout.forecasts(M, W), f"models/{M}/windows/{W}/forecasts.parquet"),
        (layout.windows_result(M, W), f"models/{M}/windows/{W}/result.json"),
        (layout.decision("north", D), f"model-promotion/north/decisions/{D}.json"),
        (layout.preview("north", D), f"model-promotion/north/decisions/{D}.preview.json"),
        (layout.log_entry("north", 42), "model-promotion/north/log/00000042.json"),
        (layout.root_pointer(), "model-promotion/current.json"),
        (layout.scope_pointer("north"), "model-promotion/north/current.json"),
        (layout.config_pointer("north", C), f"model-promotion/north/{C}/current.json"),
        (layout.run_part(C, 7, "claim"), f"runs/{C}/0007/claim.json"),
        (layout.run_part(C, 7, "train-gru"), f"runs/{C}/0007/train-gru.json"),
        (layout.failure(C, 7, "gru"), f"runs/{C}/0007/failures/gru.json"),
        (layout.inference_log("north", "20260102", "u"), "inference-logs/north/20260102/u.jsonl"),
        (layout.live("north"), "inference-logs/north/live.json"),
    ],
)
def test_an_object_has_its_documented_key(key: str, name: str) -> None:
    assert key == name


def test_a_listed_prefix_holds_its_own_objects_and_none_of_a_similar_name() -> None:
    assert layout.log_entry("north", 1).startswith(layout.log("north"))
    assert not layout.log_entry("north-west", 1).startswith(layout.log("north"))
    assert layout.run_part(C, 1, "judge").startswith(layout.runs(C))
    assert layout.failure(C, 1, "gru").startswith(layout.runs(C))


def test_entries_and_runs_sort_by_number() -> None:
    numbers = [1, 2, 9, 10, 99, 100, 1000, 9999]
    for keys in ([layout.log_entry("north", n) for n in numbers], [layout.run_part(C, n, "claim") for n in numbers]):
        assert keys == sorted(keys)


@pytest.mark.parametrize(
    "key", [layout.run_part(C, 1, "judge"), layout.failure(C, 1, "gru"), layout.inference_log("north", "20260101", "u")]
)
def test_nothing_advises_to_delete_what_no_run_makes_again(key: str) -> None:
    for advice in (layout.mend(key), layout.restore(key)):
        assert "restore it from a backup" in advice
        assert "--recompute" not in advice
    assert "do not delete it" in layout.mend(key)


def test_forecasts_are_made_again_without_their_commit_point() -> None:
    damaged, absent = layout.mend(layout.forecasts(M, W)), layout.restore(layout.forecasts(M, W))
    assert f"delete it and {layout.windows_result(M, W)}," in damaged
    assert f"delete {layout.windows_result(M, W)}," in absent
    assert "--recompute" not in damaged + absent


@pytest.mark.parametrize(
    ("folder", "number"),
    [
        ("0001", 1),
        ("0100", 100),
        ("9999", 9999),
        ("12345", 12345),
        *((folder, None) for folder in ("0000", "1", "00001", "-001", "1e10", "notes")),
    ],
)
def test_only_the_folders_that_a_claim_makes_are_runs(folder: str, number: int | None) -> None:
    assert layout.run_number(f"runs/{C}/{folder}/claim.json") == number
    if number is not None:
        assert layout.run_part(C, number, "claim") == f"runs/{C}/{folder}/claim.json"


def test_only_the_parts_under_a_day_are_logged_forecasts() -> None:
    assert layout.inference_part(layout.inference_log("north", "20260102", "u")) == ("north", "20260102", "u")
    assert layout.inference_log("north", "20260102", "u").startswith(layout.inference_logs("north", "20260102"))
    others = [layout.live("north"), "inference-logs/north/2026/u.jsonl", "inference-logs/north/20260102/u.json"]
    assert [layout.inference_part(key) for key in others] == [None, None, None]


def test_live_error_is_made_again_unlike_what_it_was_made_from() -> None:
    assert "flts predictions join" in layout.mend(layout.live("north"))
    assert layout.identity(layout.live("north")) == {"scope": "north"}
