"""What a recompute put aside after a run was judged from it: the verifier reads it where it lies now.

The judge accepts a result that was made again, as long as the first one is in quarantine under its digest. So claims
about the first run are about the first result, and those about a later run are about the one that it used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import FltsError
from flts.contracts.ports import Store
from flts.contracts.records.base import parse_stored
from flts.contracts.records.model import ModelResult, WindowsResult
from flts.contracts.records.run import TrainPart
from flts.promotion.evidence import kept_aside
from flts.verification.evidence import RunEvidence
from flts.verification.sealed import first_made, sealed

QUARANTINE = "quarantine/"


def lying_elsewhere(store: Store, evidence: RunEvidence) -> Mapping[str, str]:
    """The key in quarantine of each object that this run was judged from and that was made again since, by its own key.

    A commit point stands for its folder, which was moved with it.
    """
    moved = store.list(QUARANTINE)
    found: dict[str, str] = {}
    if not moved:
        return found
    with evidence.noting():  # where an object lies says nothing about it
        for model in evidence.models:
            try:
                part, windows_hash = evidence.trained(model), evidence.identity.windows_hash
            except FltsError:  # its claims say so
                continue
            if part is not None:
                for commit in (
                    layout.model_result(part.model_hash),
                    layout.windows_result(part.model_hash, windows_hash),
                ):
                    found |= _moved_with(store, evidence, part, commit, moved)
    return found


def first_results(evidence: RunEvidence) -> Mapping[str, str]:
    """The key in quarantine of each object that the decision was first made from and that was made again since.

    A decision names forecasts, not bundles: a run whose forecasts are equal comes to the same decision, which stays as
    the first run stored it.
    """
    found: dict[str, str] = {}
    for model in evidence.models:
        part = evidence.trained(model)
        commit = layout.model_result(part.model_hash) if part else None
        aside = first_made(evidence, commit) if commit else None
        if commit is not None and aside is not None:
            place, folder = aside.removesuffix(commit), f"{commit.rpartition('/')[0]}/"
            moved = evidence.list(f"{place}{folder}")
            found |= {key.removeprefix(place): key for key in moved if "/windows/" not in key}
    return found


def _moved_with(
    store: Store, evidence: RunEvidence, part: TrainPart, commit: str, moved: Sequence[str]
) -> Mapping[str, str]:
    expected, data = sealed(evidence, commit), store.get(commit)
    aside = kept_aside(store, commit, expected) if expected and (data is None or sha256(data) != expected) else None
    if aside is None or not _is_of(part, store, commit, aside):
        return {}
    place, folder = aside.removesuffix(commit), f"{commit.rpartition('/')[0]}/"
    return {key.removeprefix(place): key for key in moved if key.startswith(f"{place}{folder}")}


def _is_of(part: TrainPart, store: Store, commit: str, aside: str) -> bool:
    """Whether the commit point in quarantine is the one that the run used: it may have used the one made since."""
    data = store.get(aside) or b""
    if "/windows/" in commit:
        return part.forecasts_sha256 in {None, parse_stored(store, commit, WindowsResult, data).forecasts_sha256}
    return part.bundle_sha256 in {None, parse_stored(store, commit, ModelResult, data).bundle_sha256}
