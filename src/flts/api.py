"""The Python interface, which the command line itself calls.

Without `settings` a function reads them as the command line does: flts-settings.toml, then FLTS_* of the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flts.contracts.errors import UsageError
from flts.contracts.records.log import LogEntry
from flts.forecasting.intervals import STORED_LEVEL
from flts.preprocess.dialect import Dialect, named_dialect
from flts.preprocess.parquet import TIME
from flts.preprocess.source import RawFile, RawInput, RawTable, refuse_no_file
from flts.preprocess.time_column import time_among
from flts.report.evidence import RunSummary, newest_first, resolve
from flts.runner import by_hand, local, notebook
from flts.runner.reporter import Reporter
from flts.runner.scope import unnamed_scope, written_dialect
from flts.serve.follow import Champion, champion_of
from flts.serve.levels import Levels
from flts.settings import Settings, load_settings
from flts.spec.fields import Spec
from flts.spec.sources import load_spec, validate
from flts.wiring import existing_store, limits_of, store_at

if TYPE_CHECKING:
    import polars as pl

    from flts.comparison.result import Comparison
    from flts.explore.initial import FirstExperiment
    from flts.explore.inspection import InspectionReport
    from flts.verification.report import Report


def inspect(
    train: Any,
    test: Any = None,
    *,
    target: str | None = None,
    time: str | None = None,
    timezone: str | None = None,
    reading: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> InspectionReport:
    """Describe the rows, report what is unusual about them, and say whether a run would accept them.

    train and test: paths of CSV or Parquet files, or tables. Without test, a path takes the file NAME_test beside it,
    and a table takes its own last rows. timezone: of times without one; None takes the zone of a clock whose changes
    they show, or UTC. reading: how the file is written, where that must be named: any of the keys separator, decimal,
    thousands, time_format, clock_column and encoding of [dataset]. Raises DataError when no row can be used, SpecError
    for a value of `reading` that does not fit.

    >>> report = flts.inspect("load.csv")
    >>> report.usable, report.inspection.target, report.inspection.timeline.gap_count
    (True, 'load', 0)
    >>> [finding.kind for finding in report.findings if finding.severity == "note"]
    ['zone', 'beyond train', 'target', 'season']
    """
    from flts.explore import inspection
    from flts.explore.files import raw_input

    raw = raw_input(train, test, limits_of(settings or load_settings()), named_dialect(reading or {}))
    return inspection.inspect_rows(raw, target=target, time=time, timezone=timezone)


def init(  # noqa: PLR0913 - one for each option of the command
    file: str | Path,
    test_file: str | Path | None = None,
    *,
    output: str | Path | None = "flts.toml",
    target: str | None = None,
    horizon: int | None = None,
    time: str | None = None,
    timezone: str | None = None,
    reading: Mapping[str, str] | None = None,
    force: bool = False,
    settings: Settings | None = None,
) -> FirstExperiment:
    """Write an experiment that `run` accepts unchanged; beside each value is the figure it was chosen by.

    output: the file to write, None for none; timezone and reading: as for `inspect`; force: replace an existing file.
    Raises UsageError when the file exists, DataError when no experiment makes the rows usable.

    >>> first = flts.init("load.csv", output="first.toml", horizon=6)
    >>> first.spec.dataset.targets, first.spec.task.horizon, "ridge" in first.models
    (['load'], 6, True)
    >>> flts.load_spec("first.toml").spec == first.spec
    True
    """
    from flts.explore import initial

    target_file = Path(output) if output is not None else None
    if target_file is not None:
        initial.check_output(target_file, force=force)
    first = initial.first_experiment(
        Path(file),
        None if test_file is None else Path(test_file),
        target_file or Path("flts.toml"),
        target=target,
        horizon=horizon,
        time=time,
        timezone=timezone,
        limits=limits_of(settings or load_settings()),
        dialect=named_dialect(reading or {}),
    )
    if target_file is not None:
        initial.write_experiment(target_file, first.text, force=force)
    return first


def run(
    spec: Spec | Mapping[str, Any] | str | Path,
    *,
    train: Any = None,
    test: Any = None,
    folder: Path | None = None,
    settings: Settings | None = None,
    recompute: bool = False,
    wait: bool = False,
    reporter: Reporter | None = None,
) -> local.RunResult:
    """From rows to a promoted model: preprocess, train, judge, promote.

    spec: a Spec, its values as nested dictionaries, or the path of a flts.toml. train and test: tables (polars,
    pandas, Arrow, or a mapping of columns) instead of the files the Spec names; with train alone its last rows are
    the test. Where the Spec does not name the column of their times, it is their index, `time` or `ds`, else the only
    column of dates. folder: base of the relative paths in a Spec that is not a file. recompute: fit stored models
    again and compare the results. wait: let another run in the same .flts end first, instead of raising Locked.
    reporter: where progress is shown, by default in the cell of a notebook and nowhere else.

    Raises SpecError, DataError, MissingExtra, Locked and BackendUnavailable. A model that fails does not raise: it is
    listed in the result with its reason.

    >>> result = flts.run("flts.toml")
    >>> result.winner, result.promoted, result.reused
    ('ridge', True, False)
    """
    if isinstance(spec, str | Path):
        loaded = load_spec(Path(spec), environ=os.environ)
        spec, folder = loaded.spec, loaded.folder
    elif not isinstance(spec, Spec):
        spec = validate(spec)
    if train is None and test is not None:
        raise UsageError(
            "test is given without train; give both, or train alone to use its last rows as test", code="train-missing"
        )
    tables = None
    if train is not None:
        dialect = Dialect.of(spec.dataset)
        table = RawTable.of("train", train, dialect)
        spec = _with_time_column(spec, table)
        tables = RawInput(table, None if test is None else RawTable.of("test", test, dialect))
    with ExitStack() as opened:
        return local.run(
            spec,
            settings or load_settings(),
            reporter or opened.enter_context(notebook.reporter(sorted(spec.expected))),
            folder=folder or Path.cwd(),
            tables=tables,
            recompute=recompute,
            wait=wait,
        )


def _with_time_column(spec: Spec, train: RawTable) -> Spec:
    """The Spec with the column that holds the times of a table, where it names none itself."""
    dataset = spec.dataset
    if dataset.time_column != TIME:
        return spec
    time = time_among(train.table, TIME, train.index)
    return spec.model_copy(update={"dataset": dataset.model_copy(update={"time_column": time})})


def load_champion(scope: str | None = None, *, settings: Settings | None = None) -> Champion:
    """The promoted model of a scope, after its self-test.

    scope: None takes that of flts.toml in the working directory, else the only one with a promotion. Raises UsageError
    when there are several, when the scope has no champion or another version of FLTS made the folder, DamagedObject
    when the bundle is not the one that was judged, MissingExtra.

    >>> champion = flts.load_champion()
    >>> champion.entry.champion.model
    'ridge'
    >>> champion.forecast(table).height
    3
    """
    store = existing_store(settings or load_settings())
    return champion_of(store, unnamed_scope(store).name if scope is None else scope)


def forecast(
    history: Any,
    *,
    scope: str | None = None,
    level: Levels = STORED_LEVEL,
    horizon: int | None = None,
    quantiles: Sequence[float] = (),
    future: Any = None,
    reading: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> pl.DataFrame:
    """Forecast from the end of a history with the champion of a scope, in original units.

    history: a table, or the path of a CSV or Parquet file, newest row last; scope: as of `load_champion`; level of the
    interval: 0.5, 0.8, 0.9 or 0.95, or several of them; horizon: steps, by default all that the model was trained for;
    quantiles: 0.5 and those at which an interval ends, from 0.025 to 0.975; future: a table or a file of the rows to
    forecast, with the columns that the model knows ahead; without it, the last rows of the history that hold no target
    are taken for them; reading: as of `inspect`; where it names nothing and the history can be read in two ways,
    flts.toml in the working directory decides. Returns columns time
    (local time of the train rows), target, mean, lower and upper, or lower_50, upper_50 and so on, and q10 for the
    quantile 0.1; bounds are null where the model has none. To forecast many times, keep the result of `load_champion`;
    its method `answer` also gives the warnings about a history. Raises the errors of `load_champion`, DataError, and
    UsageError for a level, a quantile or a horizon that the model does not have.

    >>> flts.forecast("load_test.csv", level=0.9, horizon=2)["target"].to_list()
    ['load', 'load']
    >>> flts.forecast("load_test.csv", level=[0.5, 0.95], quantiles=[0.1]).columns[3:]
    ['lower_50', 'upper_50', 'lower_95', 'upper_95', 'q10']
    """
    settings = settings or load_settings()
    champion = load_champion(scope, settings=settings)
    dialect, hint = named_dialect(reading or {}), written_dialect(champion.entry.scope)

    def raw(name: str, table: Any) -> RawFile | RawTable:
        if not isinstance(table, str | Path):
            return replace(RawTable.of(name, table, dialect), hint=hint)
        file = Path(table)
        refuse_no_file(file)
        return RawFile(str(file), file, limits_of(settings), dialect, hint)

    later = None if future is None else raw("future", future)
    return champion.forecast(raw("history", history), level, horizon, quantiles, future=later)


def runs(
    *,
    limit: int | None = None,
    before: RunSummary | None = None,
    scope: str | None = None,
    settings: Settings | None = None,
) -> Sequence[RunSummary]:
    """Every run, or the newest `limit` of them, newest first. Raises UsageError when there is no run yet.

    before: only those older than this one, the last of the page before; scope: only those of this scope.

    >>> [(run.run, run.claim.scope, run.judge.outcome) for run in flts.runs()]
    [(1, 'global', 'promote'), (1, 'global', 'promote')]
    """
    return newest_first(existing_store(settings or load_settings()), limit, before=before, scope=scope)


def compare(*runs: str | Path, settings: Settings | None = None) -> Comparison:
    """Two or more runs side by side, each with a verdict against the first.

    Each is CONFIG[:RUN] of the store of the settings, STORE#CONFIG[:RUN] of another one, the newest run of STORE, or
    a file that `flts runs show CONFIG --json` wrote. CONFIG is the start of a config_hash; STORE is a folder or a URL.
    Raises UsageError for one run alone and for a run that does not exist, DamagedObject for one whose claim cannot be
    read; other damage is part of the comparison.

    >>> first = flts.runs()[-1]
    >>> comparison = flts.compare(first.config_hash[:12], f".flts#{first.config_hash[:12]}:1")
    >>> comparison.same, comparison.verdicts[0].kind
    (False, 'not-computed-twice')
    """
    from flts.comparison import compare as comparison
    from flts.comparison.sides import read_side

    chosen = settings or load_settings()
    return comparison.compare([read_side(str(named), lambda where: store_at(where, chosen)) for named in runs])


def promote(
    config: str,
    model: str,
    scope: str | None = None,
    *,
    settings: Settings | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> LogEntry | None:
    """Make a judged model the champion by hand, even if a gate refused it. None when it is the champion already.

    config: the first characters of the config_hash whose run judged it; scope: None takes that of flts.toml in the
    working directory, else the only one in which it was judged; actor: the person to record in the log, by
    default that of the settings, else the user of this process; reason: why, in words for the log. Raises UsageError
    for a configuration that was not judged in this scope, and for a model without forecasts there.

    >>> first = flts.runs()[-1]
    >>> flts.promote(first.config_hash[:12], "ridge").kind
    'manual'
    """
    settings = settings or load_settings()
    if scope is None:
        store = existing_store(settings)
        scope = unnamed_scope(store, lambda: by_hand.judged_scopes(store, resolve(store, config))).name
    return by_hand.promote(settings, config, model, scope, actor, reason)


def rollback(
    scope: str | None = None,
    *,
    saw: int | None = None,
    settings: Settings | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> LogEntry:
    """Restore the champion before the current one; each further call goes one champion further back.

    scope: as of `load_champion`; saw: number of the promotion to undo, by default the newest; actor and reason: as of
    `promote`. Raises UsageError when there is no earlier champion, and when another promotion is the newest by then.

    >>> entry = flts.rollback()
    >>> entry.kind, entry.number, entry.restores
    ('rollback', 3, 1)
    """
    settings = settings or load_settings()
    if scope is None:
        scope = unnamed_scope(existing_store(settings)).name
    return by_hand.rollback(settings, scope, actor, saw, reason)


def verify(  # noqa: PLR0913 - one for each option of the command
    config: str | None = None,
    *,
    run: int | None = None,
    scope: str | None = None,
    claim: str | None = None,
    pods: str | Path | None = None,
    logs: Sequence[str | Path] = (),
    expect: str | Path | None = None,
    expect_head: str | None = None,
    compare: Sequence[str | Path] = (),
    require: Sequence[str] = (),
    settings: Settings | None = None,
) -> Report:
    """Re-derive every claim about a run from what it left behind.

    config: the first characters of its config_hash, by default that of the newest run; run: its number, by default the
    newest; scope: only runs of this scope; claim: check this one alone, with those that it rests on; pods: the output
    of `kubectl get pods -o json`; logs: files of log lines; expect: a TOML file with what a team wants to hold;
    expect_head: the digest of the newest entry of the promotion log as somebody wrote it down; compare: other runs, as
    `flts.compare` takes them; require: ids of claims, or their beginnings, that must be recorded. `exit_code` of the
    report is that of `flts verify`. Raises UsageError when there is no such run or claim, and for a file that is not
    what it should be.

    >>> report = flts.verify()
    >>> report.exit_code, report.first_false
    (0, None)
    >>> report.claim("train.ridge.rmse").state
    'true'
    """
    from flts.comparison.sides import read_side
    from flts.report.evidence import chosen_run
    from flts.verification.expectations import read_expectations
    from flts.verification.outside import Outside, read_logs, read_pods
    from flts.verification.report import examine
    from flts.wiring import open_bus, open_tracker

    settings = settings or load_settings()
    store = existing_store(settings)
    config_hash, number = chosen_run(store, config, run, scope)
    expected = read_expectations(Path(expect)) if expect is not None else []
    others = [read_side(str(named), lambda where: store_at(where, settings)) for named in compare]
    with ExitStack() as opened:
        bus = None if settings.bus.startswith("memory:") else opened.enter_context(closing(open_bus(settings)))
        tracker = open_tracker(settings)
        outside = Outside(
            bus=bus,
            tracker=opened.enter_context(closing(tracker)) if tracker else None,
            pods=read_pods(Path(pods)) if pods is not None else None,
            logs=read_logs([Path(file) for file in logs]),
        )
        return examine(
            store,
            config_hash,
            number,
            outside=outside,
            expected=expected,
            only=claim,
            required=require,
            expected_head=expect_head,
            others=others,
        )
