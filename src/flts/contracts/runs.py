"""The numbered runs of a configuration and the parts of their record, each written once by who did the work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flts.contracts import layout
from flts.contracts.ports import Store, read_json, write_json_once


def numbers(store: Store, config_hash: str) -> list[int]:
    """Numbers of all runs, oldest first."""
    claims = (key for key in store.list(layout.runs(config_hash)) if key.endswith("/claim.json"))
    return sorted(_number(key) for key in claims)


def claim(store: Store, config_hash: str, record: Mapping[str, Any]) -> int:
    """Take the next free number. `record` must hold something that tells two claimers apart."""
    number = max(numbers(store, config_hash), default=0) + 1
    while True:
        mine = {**record, "run": number}
        if write_json_once(store, layout.run_part(config_hash, number, "claim"), mine, at="run.claim") == mine:
            return number
        number += 1


def newest(store: Store, config_hash: str, scope: str) -> int | None:
    """Number of the newest run of this configuration and scope."""
    return next((int(found["run"]) for found in parts(store, config_hash, "claim") if found["scope"] == scope), None)


def parts(store: Store, config_hash: str, part: str) -> Iterator[dict[str, Any]]:
    """One part of every run that has it, newest run first: claim, judge, train-<model>, failures/<model>."""
    ending = f"/{part}.json"
    keys = [key for key in store.list(layout.runs(config_hash)) if key.endswith(ending)]
    for key in sorted(keys, key=_number, reverse=True):
        record = read_json(store, key)
        if record is not None:
            yield record


def _number(key: str) -> int:
    return int(key.split("/")[2])
