"""Bundles: the files of a fitted model. The bytes that were judged are the bytes that are served.

manifest.json holds the digest of every other file, and bundle_sha256 is the digest of the manifest, so a bundle that
differs in one byte has another name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, FltsError, MissingPackage
from flts.contracts.ports import Store, read_checked, write_once
from flts.contracts.records.base import parse_record, plain_json
from flts.contracts.records.model import BundleFile, IntervalOffsets, Manifest, MemberBundle, PackageRecord, SelfTest
from flts.forecasting.adaptive import NONE, earlier_origins, reach, rolling_offsets, scores
from flts.forecasting.answers import LEVEL_NAMES, Answers, bounds_of, static_offsets
from flts.forecasting.ensemble import MeanOfModels, Share, combined, refuse_misfit
from flts.forecasting.histories import Histories
from flts.forecasting.model import Forecasts, Model, refuse_unmeasurable
from flts.models.base import Family, Files, ForecastTask, History, Indices, TargetsAlone
from flts.models.ensemble import Ensemble
from flts.models.registry import CANDIDATES, missing, package_of
from flts.preprocess.known import Known
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import FittedPreprocess

MANIFEST = "manifest.json"
SCORES = "intervals.safetensors"
TOLERANCE = 1e-6
"""Two computations of one forecast may differ by this share of the target's range over train."""


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle whose digests were checked."""

    sha256: str
    manifest: Manifest
    model: Model

    scores: Values | None = None
    """Of the windows of training [windows, horizon, targets], oldest first, where intervals are adaptive."""
    members: Sequence[tuple[int, Bundle]] = ()
    """Weight and bundle of each member of an ensemble, in the order of their names; empty for every other model."""

    @property
    def rows_used(self) -> int:
        """Rows of a history that count: those that the model uses and, with adaptive intervals, the earlier origins."""
        if self.members:
            return max(bundle.rows_used for _, bundle in self.members)
        return self.model.history_rows + (0 if self.scores is None else reach(self.model.task.horizon))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a history must have, besides the time; another column of the manifest counts for nothing."""
        fitted, predictor = self.model.task.fitted, self.model.predictor
        if self.members:
            wanted = {name for _, bundle in self.members for name in bundle.needed}
            return tuple(name for name in fitted.names if name in wanted)
        if not self.manifest.uses_history:
            return ()
        if not isinstance(predictor, TargetsAlone) or not predictor.targets_alone:
            return fitted.names
        return (*fitted.targets, *self.given)  # what is known ahead is known of the past, too

    @property
    def known(self) -> Known:
        """What the model, or a member of the ensemble, uses of the rows to forecast."""
        return self.model.task.known

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that a request has to bring for the rows to forecast."""
        return self.known.given

    def windows(self, rows: Rows) -> int:
        """At most so many windows are forecast for a request with this history: itself and its earlier origins."""
        if self.members:
            return sum(bundle.windows(rows) for _, bundle in self.members)
        return self.most_windows(len(rows), int(np.searchsorted(rows.times, self.manifest.trained_until, side="right")))

    def most_windows(self, length: int, known: int = 0) -> int:
        """The same for a history of this length, whose times nobody has read. known: how many rows train has."""
        if self.members:
            return sum(bundle.most_windows(length, known) for _, bundle in self.members)
        earlier = 0 if self.scores is None else length - max(known, self.model.history_rows)
        return 1 + min(max(earlier, 0), reach(self.model.task.horizon))

    def forecast_each(self, requests: Sequence[Rows]) -> Answers:
        """Forecasts after the last row of each request, at once; each sees its own rows alone. Raises as `forecast`."""
        model, lengths = self.model, set(map(len, requests))
        (length, *others) = lengths
        alone = not self.members and not self.given and (self.scores is None or length <= model.history_rows)
        if others or length < model.history.minimum or not alone:
            return self.forecast(Histories.ended(requests))
        return self.forecast_alike(
            np.stack([rows.times for rows in requests]), np.stack([rows.values for rows in requests])
        )

    def forecast_alike(self, times: Times, values: Values) -> Answers:
        """The same for histories of one length that have no earlier origins, as arrays.

        times [requests, rows]; values [requests, rows, columns]; from `min_history_rows` to `history_rows` of them.
        """
        if self.members:  # one that uses fewer rows than others may have earlier origins
            return self.forecast_each(
                [Rows(*one, self.model.task.fitted.names) for one in zip(times, values, strict=True)]
            )
        made = self.model.forecast(times, values)
        refuse_unmeasurable(made.mean, self.model.task.fitted)
        return self._answers(made, self._static, np.zeros(len(times), dtype=bool))

    def forecast(self, histories: Histories) -> Answers:
        """Forecasts with intervals from every origin; columns as in the manifest, rows on the grid.

        Each origin is forecast once, whether a request or its history asks for it. Raises NotApplicable for too little
        history, TrainingFailed for a forecast that is not finite.
        """
        if self.members:
            return self._combined(histories)
        model, count, static = self.model, len(histories), self._static
        earlier = self._earlier(histories)
        if static is None or self.scores is None or not len(earlier):
            return self._answers(model.forecast_all(histories), static, np.zeros(count, dtype=bool))
        origins, place = np.unique(np.concatenate([histories.ends, earlier]), return_inverse=True)
        every = model.forecast_each(histories.before(origins))
        made, past = (Forecasts(every.mean[at], every.spread[at]) for at in (place[:count], place[count:]))
        refuse_unmeasurable(made.mean, model.task.fitted)
        found = scores(histories.before(earlier), past, model.task.fitted.targets)
        offsets, adaptive = rolling_offsets(histories.ends, histories.lengths, earlier, found, self.scores, static)
        return self._answers(made, offsets, adaptive)

    def _combined(self, histories: Histories) -> Answers:
        shares = [Share.of_answers(weight, of.manifest, of.forecast(histories)) for weight, of in self.members]
        return combined(self.manifest, shares, self.model.spread_all(histories, self.model.scale))

    def _earlier(self, histories: Histories) -> Indices:
        """The origins whose errors shape the intervals, besides those of training."""
        if self.scores is None:
            return NONE
        return earlier_origins(histories, self.model, self.manifest.trained_until)

    @cached_property
    def _static(self) -> Values | None:
        """The offsets of training for every request [levels, 1, horizon, targets]; None without intervals."""
        return static_offsets(self.manifest)

    def _answers(self, made: Forecasts, offsets: Values | None, adaptive: NDArray[np.bool_]) -> Answers:
        half: dict[str, Values] = {}
        if offsets is not None:
            half = dict(zip(LEVEL_NAMES, offsets * made.spread[:, None, :], strict=True))
        return Answers(made.mean, made.spread, half, adaptive, self.model.task.bounds)

    def self_test(self) -> None:
        """Forecast the stored history again. Raises DamagedObject when the answer differs from the stored one."""
        vector = self.manifest.self_test
        given = None if vector.ahead is None else np.array(vector.ahead, dtype=float)[None]
        answer = self.model.forecast(np.array(vector.times)[None], np.array(vector.values, dtype=float)[None], given)
        _, width = self.model.task.fitted.target_range
        errors = np.abs(answer.mean[0] - np.array(vector.mean)) / width
        if not (errors <= TOLERANCE).all():
            raise DamagedObject(
                f"bundle {self.sha256[:12]}… fails its self-test: a forecast is off by {errors.max():.2e} of the"
                f" target's range, and at most {TOLERANCE:g} is allowed;"
                " its model may need other versions of the libraries",
                code="self-test-failed",
                key=layout.bundle(self.sha256, MANIFEST),
                found=float(errors.max()),
                allowed=TOLERANCE,
            )


def build_manifest(
    family: Family[Any],
    model: Model,
    files: Files,
    train: Rows,
    intervals: IntervalOffsets,
    chosen: Mapping[str, Any],
    time_column: str,
) -> Manifest:
    """Describe a fitted model. Its self-test stores the end of train and the forecast that the model makes from it.

    What has to be known ahead is taken from the last rows of train.
    """
    fitted, task = model.task.fitted, model.task
    rows = train[-min(model.history_rows, len(train)) :]
    ahead = train[-task.horizon :].select(task.known.given) if task.known.given else None
    answer = model.forecast(rows.times[None], rows.values[None], None if ahead is None else ahead[None])
    package = package_of(family.name)
    return Manifest(
        model=family.name,
        model_type=family.name.upper(),
        code_version=family.version,
        columns=list(fitted.names),
        features=list(fitted.features),
        targets=list(fitted.targets),
        units="as in the raw rows",
        input_length=task.input_length,
        horizon=task.horizon,
        seasons=list(task.seasons),
        min_measured=task.min_measured,
        bounds=[list(pair) for pair in task.bounds or ((None, None),) * task.targets],
        history_rows=model.history_rows,
        min_history_rows=model.history.minimum,
        uses_history=model.history.used,
        trained_until=int(train.times[-1]),
        chosen=plain_json(chosen),
        fitted=fitted.record(),
        intervals=intervals,
        self_test=SelfTest(
            ahead=None if ahead is None else cells(ahead),
            times=rows.times.tolist(),
            values=cells(rows.values),
            mean=answer.mean[0].tolist(),
        ),
        files={name: BundleFile(sha256=sha256(data), size=len(data)) for name, data in files.items()},
        time_column=time_column,
        known_future=task.known.record(),
        package=None if package is None else PackageRecord(**package),
    )


def cells(values: Values) -> list[list[float | None]]:
    """Plain numbers [rows][columns], None for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


def write_bundle(store: Store, manifest: Manifest, files: Files) -> str:
    """Store the files, then the manifest; returns bundle_sha256."""
    data = manifest.to_bytes()
    name = sha256(data)
    for file, content in sorted(files.items()):
        write_once(store, layout.bundle(name, file), content, at="train.bundle")
    write_once(store, layout.bundle(name, MANIFEST), data, at="train.manifest")
    return name


ReadFile = Callable[[str, str, str], bytes]
"""Reads a file of a bundle and checks it: digest of the bundle, path in a copy of the whole, digest of the file."""


def read_bundle(store: Store, bundle_sha256: str) -> tuple[Manifest, Files]:
    """Manifest and files, every digest checked. Raises DamagedObject for a missing or changed byte.

    The files of an ensemble are its own and those of its members, each under the name of the member as a folder.
    """

    def read(bundle: str, path: str, digest: str) -> bytes:
        return read_checked(store, layout.bundle(bundle, path.rpartition("/")[2]), digest)

    return read_files(bundle_sha256, read, store.url)


def read_files(bundle_sha256: str, read: ReadFile, where: str) -> tuple[Manifest, Files]:
    """Manifest and files of a bundle, from wherever `read` finds them; `where` names that place in errors."""
    manifest = _read_manifest(bundle_sha256, "", read, where)[0]
    files = {name: read(bundle_sha256, name, file.sha256) for name, file in manifest.files.items()}
    for member, of in (manifest.members or {}).items():
        inner, data = _read_manifest(of.bundle_sha256, f"{member}/", read, where)
        refuse_misfit(manifest, member, inner)
        files[f"{member}/{MANIFEST}"] = data
        for name, file in inner.files.items():
            files[f"{member}/{name}"] = read(of.bundle_sha256, f"{member}/{name}", file.sha256)
    return manifest, files


def _read_manifest(bundle_sha256: str, folder: str, read: ReadFile, where: str) -> tuple[Manifest, bytes]:
    data = read(bundle_sha256, f"{folder}{MANIFEST}", bundle_sha256)
    return parse_manifest(data, f"{layout.bundle(bundle_sha256, MANIFEST)} in {where}"), data


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse a manifest whose digest was checked; `where` names it in errors.

    Its bytes are intact, so if this version cannot read it, the version that wrote it can. Raises DamagedObject for an
    unreadable format, an unknown family and a file name that leaves the bundle, MissingPackage for the family of a
    package that is not installed.
    """
    key = layout.bundle(sha256(data), MANIFEST)
    manifest = parse_record(Manifest, data, where, "load it with the flts that wrote it", key=key)
    if (manifest.model == Ensemble.name) is not (manifest.members is not None):
        raise DamagedObject(
            f"{where} is damaged: members belong to the bundle of an ensemble and to no other; {layout.mend(key)}",
            code="members-unusual",
            key=key,
        )
    if manifest.members is not None:
        return manifest
    if manifest.package is not None and manifest.model not in CANDIDATES:
        raise MissingPackage(
            f"the model '{manifest.model}' of {where}", manifest.package.package, manifest.package.release
        )
    if manifest.model not in CANDIDATES:
        raise DamagedObject(
            f"{where} is a model of the family '{manifest.model}', which is not installed; available:"
            f" {', '.join(sorted(CANDIDATES))}",
            code="family-unknown",
            key=key,
            model=manifest.model,
            available=sorted(CANDIDATES),
        )
    return manifest


def load_bundle(store: Store, bundle_sha256: str) -> Bundle:
    """Read, check and load a bundle. Raises DamagedObject, MissingExtra or MissingPackage."""
    return assemble(bundle_sha256, *read_bundle(store, bundle_sha256))


def assemble(bundle_sha256: str, manifest: Manifest, files: Files) -> Bundle:
    """Load the model of checked files. Raises MissingExtra or MissingPackage when its library is not installed."""
    fitted, seasons = FittedPreprocess.of(manifest.fitted), tuple(manifest.seasons)
    bounds, known = bounds_of(manifest), Known.of(manifest.known_future)
    task = ForecastTask(manifest.input_length, manifest.horizon, seasons, fitted, manifest.min_measured, bounds, known)
    if manifest.members is not None:
        return _assemble_ensemble(bundle_sha256, manifest, manifest.members, files, task)
    family = CANDIDATES[manifest.model]
    scores = manifest.intervals.scores
    try:
        predictor = family.load({name: data for name, data in files.items() if name != scores}, task)
    except ModuleNotFoundError as error:
        raise missing(family, error.name or family.name) from None
    except (FltsError, MemoryError):
        raise
    except Exception as error:  # each library has errors of its own for a file that is not what it should be
        reason = (str(error).splitlines() or [""])[0][:300]
        raise DamagedObject(
            f"the model '{family.name}' of bundle {bundle_sha256[:12]}… cannot be loaded: {type(error).__name__}:"
            f" {reason}; its files may need other versions of the libraries",
            code="model-unreadable",
            key=layout.bundle(bundle_sha256, MANIFEST),
            model=family.name,
        ) from error
    # as it was judged: a later version of the family may look at other rows
    history = History(
        manifest.history_rows, manifest.min_history_rows, manifest.uses_history, family.history(task).refitted
    )
    model = Model(predictor, task, history, manifest.intervals.scale)
    return Bundle(bundle_sha256, manifest, model, None if scores is None else read_scores(files[scores]))


def _assemble_ensemble(
    bundle_sha256: str, manifest: Manifest, members: Mapping[str, MemberBundle], files: Files, task: ForecastTask
) -> Bundle:
    bundles = []
    for name, of in sorted(members.items()):
        own = {path.removeprefix(f"{name}/"): data for path, data in files.items() if path.startswith(f"{name}/")}
        inner = parse_manifest(own.pop(MANIFEST), layout.bundle(of.bundle_sha256, MANIFEST))
        bundles.append((of.weight, assemble(of.bundle_sha256, inner, own)))
    mean = MeanOfModels([(weight, bundle.model) for weight, bundle in bundles])
    model = Model(mean, task, mean.history(), manifest.intervals.scale)
    return Bundle(bundle_sha256, manifest, model, members=bundles)


def write_scores(scores: Values) -> bytes:
    """The scores [windows, horizon, targets] as the bytes of a file."""
    from safetensors.numpy import save

    return save({"scores": np.ascontiguousarray(scores)})


def read_scores(data: bytes) -> Values:
    """The inverse of `write_scores`."""
    from safetensors.numpy import load

    scores: Values = load(data)["scores"]
    return scores
