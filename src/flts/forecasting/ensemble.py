"""The arithmetic of an ensemble: the weighted mean of its members, and intervals that follow theirs.

Weights are whole numbers, sums are made in the order of the names, in float64 and without BLAS: whoever makes an
ensemble of stored forecasts makes the same bytes.

An interval is the offset of the ensemble's own errors on the validation windows times the spread of the history, as for
every model, times a stretch: how much wider the intervals of the members are now than the errors of training alone
would make them. So it follows the errors before a request without a forecast of the ensemble from each earlier origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DamagedObject
from flts.contracts.records.base import JsonObject
from flts.contracts.records.model import IntervalOffsets, Manifest, MemberBundle
from flts.forecasting.answers import LEVEL_NAMES, Answers, bounds_of, column_of, static_offsets
from flts.forecasting.bounds import within
from flts.forecasting.model import Model
from flts.models.base import History, Window
from flts.models.ensemble import Ensemble
from flts.preprocess.rows import Values

STRETCH_LEVELS = (0.5, 0.9)
"""Levels whose half widths may tell the stretch."""
TOLD_BY = {1: STRETCH_LEVELS}
"""Those that tell it, by the version of an ensemble. A wide one alone came nearer to the nominal level on train rows of
public series (docs/decisions/0013)."""


@dataclass(frozen=True)
class Share:
    """What a member brings to the forecasts of some origins.

    mean [origins, horizon, targets]; served and static, by level of STRETCH_LEVELS and of the same shape: half widths
    of its intervals, and those that the errors of training alone give, empty where it has no intervals; adaptive
    [origins].
    """

    weight: int
    mean: Values
    served: Mapping[float, Values]
    static: Mapping[float, Values]
    adaptive: NDArray[np.bool_]

    @classmethod
    def of_answers(cls, weight: int, manifest: Manifest, answers: Answers) -> Share:
        """The share of a member that answers now."""
        served = {level: answers.half_width[f"{level:g}"] for level in STRETCH_LEVELS if answers.half_width}
        return cls(weight, answers.mean, served, _static(manifest, answers.spread[:, None, :]), answers.adaptive)

    @classmethod
    def of_table(cls, weight: int, manifest: Manifest, values: Mapping[str, Values]) -> Share:
        """The share of a member whose answers are stored as a table of forecasts."""
        has = manifest.intervals.offsets is not None
        served = {level: values[column_of(f"{level:g}")] for level in STRETCH_LEVELS if has}
        adaptive = np.asarray(values["adaptive"][:, 0, 0] > 0.0)
        return cls(weight, values["y_hat"], served, _static(manifest, values["spread"]), adaptive)


def weighted_mean(parts: Sequence[tuple[int, Values]]) -> Values:
    """Σ weight · values ÷ Σ weight, added up in this order."""
    total = np.zeros(parts[0][1].shape)
    for weight, values in parts:
        total += weight * values
    return total / sum(weight for weight, _ in parts)


def combined(manifest: Manifest, shares: Sequence[Share], spread: Values) -> Answers:
    """The answers of the ensemble of this manifest whose members bring these shares, in the order of their names.

    spread [origins, targets]: of each history, by the scale of the ensemble.
    """
    bounds = bounds_of(manifest)  # again: the last digit of a sum may lie beyond one that no member exceeds
    mean = within(weighted_mean([(share.weight, share.mean) for share in shares]), bounds)
    offsets, half = static_offsets(manifest), dict[str, Values]()
    if offsets is not None:
        stretch = _stretch(shares, TOLD_BY.get(manifest.code_version, STRETCH_LEVELS[-1:]), mean.shape)
        half = dict(zip(LEVEL_NAMES, offsets * spread[:, None, :] * stretch, strict=True))
    adaptive = np.any([share.adaptive for share in shares], axis=0)
    return Answers(mean, spread, half, adaptive, bounds)


def _stretch(shares: Sequence[Share], levels: Sequence[float], shape: tuple[int, ...]) -> Values:
    """Mean over these levels of Σ weight · served ÷ Σ weight · static; 1 where the errors of training were zero."""
    known = [share for share in shares if share.served]
    if not known:
        return np.ones(shape)
    ratios = []
    for level in levels:
        served = weighted_mean([(share.weight, share.served[level]) for share in known])
        static = weighted_mean([(share.weight, share.static[level]) for share in known])
        positive = static > 0.0
        ratios.append(np.where(positive, served / np.where(positive, static, 1.0), 1.0))
    return weighted_mean([(1, ratio) for ratio in ratios])


def _static(manifest: Manifest, spread: Values) -> dict[float, Values]:
    offsets = manifest.intervals.offsets
    if offsets is None:
        return {}
    return {level: np.array(offsets[f"{level:g}"]) * spread for level in STRETCH_LEVELS}


SHARED = (
    "columns",
    "features",
    "targets",
    "units",
    "input_length",
    "horizon",
    "seasons",
    "min_measured",
    "bounds",
    "trained_until",
    "fitted",
    "time_column",
)
"""Fields of a manifest that all members of an ensemble have alike, and so has the ensemble."""


def ensemble_manifest(
    members: Mapping[str, tuple[int, str, Manifest]], intervals: IntervalOffsets, chosen: JsonObject
) -> Manifest:
    """Describe the ensemble of these members: weight, bundle_sha256 and manifest by name.

    What all members share it has too; of the history it needs the most that one of them does. Its self-test is the
    weighted mean of theirs, all from the end of train.
    """
    weights = [(weight, manifest) for _, (weight, _, manifest) in sorted(members.items())]
    longest = max((manifest for _, manifest in weights), key=lambda manifest: manifest.history_rows)
    known = next((manifest.known_future for _, manifest in weights if manifest.known_future is not None), None)
    told = next((manifest.self_test.ahead for _, manifest in weights if manifest.self_test.ahead is not None), None)
    tested = within(weighted_mean([(w, np.array(m.self_test.mean)) for w, m in weights]), bounds_of(longest))
    return longest.model_copy(
        update={
            "model": Ensemble.name,
            "model_type": Ensemble.name.upper(),
            "code_version": Ensemble.version,
            "min_history_rows": max(manifest.min_history_rows for _, manifest in weights),
            "uses_history": any(manifest.uses_history for _, manifest in weights),
            "chosen": chosen,
            "intervals": intervals,
            "self_test": longest.self_test.model_copy(update={"ahead": told, "mean": tested.tolist()}),
            "files": {},
            "known_future": known,
            "package": None,
            "members": {
                name: MemberBundle(bundle_sha256=bundle, weight=weight)
                for name, (weight, bundle, _) in sorted(members.items())
            },
        }
    )


def refuse_misfit(manifest: Manifest, name: str, member: Manifest) -> None:
    """Raise DamagedObject for a member that the ensemble of `manifest` cannot be made of."""
    differing = sorted(field for field in SHARED if getattr(member, field) != getattr(manifest, field))
    if member.model != name or member.members is not None or differing:
        what = f"other {', '.join(differing)}" if differing else f"a model of '{member.model}'"
        raise DamagedObject(
            f"the bundle of an ensemble is damaged: it names for its member '{name}' a bundle with {what}; restore it"
            " from a backup",
            code="member-misfit",
            member=name,
            fields=differing,
        )


@dataclass(frozen=True)
class MeanOfModels:
    """A predictor that asks every member, each with the rows that it uses, and gives the weighted mean."""

    members: Sequence[tuple[int, Model]]

    def predict(self, window: Window) -> Values:
        """Scaled forecasts [windows, horizon, targets]."""
        values = np.where(window.measured, window.cleaned, np.nan)
        means = [(weight, model.forecast(window.times, values, window.given).mean) for weight, model in self.members]
        return window.fitted.scale_targets(weighted_mean(means))

    def history(self) -> History:
        """The most that a member asks for."""
        each = [model.history for _, model in self.members]
        return History(
            wanted=max(model.history_rows for _, model in self.members),
            minimum=max(history.minimum for history in each),
            used=any(history.used for history in each),
            refitted=any(history.refitted for history in each),
        )
