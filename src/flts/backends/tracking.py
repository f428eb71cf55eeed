"""A Tracker on MLflow: a run per candidate, its bundle as a model of plain data, the champion as a registered version.

Works embedded (sqlite:///…, artifacts in a folder beside it) and against a server. mlflow is imported at the first
call; every call of one tracker must come from one thread.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.request import urlopen

from flts.backends.mlflow_file import file_of, make_whole
from flts.backends.mlflow_model import write_model
from flts.backends.mlflow_reserved import add_run, new_id
from flts.backends.mlflow_template import template_here
from flts.contracts.errors import BackendUnavailable, StageFailed, UsageError
from flts.contracts.machine import lacking, lacking_in
from flts.contracts.ports import SeenRun, TrackedRun, experiment_of
from flts.version import __version__

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

ALIAS = "champion"
BUNDLE_TAG = "flts.bundle_sha256"
ENTRY_TAG = "flts.entry_sha256"
IDENTITY_TAGS = ("flts.config_hash", "flts.model_hash")
AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
"""Error codes of MLflow: for a server that failed or did not answer, and for one that refused our credentials."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""For an absent model, and for one without this alias."""
TAKEN = ("RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")
"""For a name that is taken; the second one where only the database noticed, as with a dataset."""


class MlflowTracker:
    """A Tracker on an MLflow database or server."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        """`artifacts`: where an embedded database keeps its files; a server decides that itself."""
        self.uri, self._artifacts = uri, artifacts
        self._embedded = uri.startswith("sqlite:")
        self._opened: MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        self._new: set[str] = set()
        """Ids of experiments that this tracker created: no other process logged to them before."""
        # mlflow reads these when it is imported, which any method may be the first to do
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        # mlflow's defaults wait two minutes for an answer, and retry for four
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

    def prepare(self, scope: str) -> None:
        with self._failing("prepare"):
            self._experiment(scope)

    def reserve(self) -> str | None:
        return None if file_of(self.uri) is None else new_id()

    def log(self, run: TrackedRun, run_id: str | None = None) -> str:
        from mlflow.entities import Dataset as MlflowDataset
        from mlflow.entities import DatasetInput, InputTag, Metric, Param

        with self._failing("log a run"), tempfile.TemporaryDirectory(prefix="flts-") as folder:
            experiment = self._experiment(run.scope)
            before = self._logged_before(experiment, run) if run_id is None else self._gone(run_id)
            if before is not None:
                return before
            files = Path(folder)
            self._lay_out(run, files)
            client = self._client()
            begun = self._begin(experiment, run, run_id)
            run_id, moment = begun.info.run_id, run.ended_ms
            metrics = [Metric(_allowed(name), value, moment, 0) for name, value in run.metrics.items()]
            for epoch, (train, validation) in enumerate(run.curve, 1):
                metrics += [Metric("train_loss", train, moment, epoch), Metric("val_loss", validation, moment, epoch)]
            client.log_batch(
                run_id,
                metrics=[metric for metric in metrics if metric.key not in begun.data.metrics],
                params=[Param(name, str(value)) for name, value in sorted(run.parameters.items())],
            )
            rows = MlflowDataset(run.dataset["name"], run.dataset["digest"], "flts", run.dataset["source"])
            inputs = [DatasetInput(rows, [InputTag("mlflow.data.context", "training")])]
            _found_or_made(partial(client.log_inputs, run_id, inputs))  # all trainers of a run have the same rows
            if any(files.iterdir()):
                client.log_artifacts(run_id, folder)
            client.set_terminated(run_id, run.status, end_time=run.ended_ms)
            return run_id

    def first_run(self, tags: Mapping[str, str], other_than: Mapping[str, str]) -> str | None:
        conditions = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        conditions += [f"tags.`{name}` != '{value}'" for name, value in other_than.items()]
        with self._failing("look for a run"):
            client = self._client()
            scopes = [scope.experiment_id for scope in client.search_experiments(filter_string="name LIKE 'flts/%'")]
            if not scopes:
                return None
            runs = client.search_runs(
                scopes,
                " and ".join([*conditions, "attributes.status = 'FINISHED'"]),
                max_results=1,
                order_by=["attributes.start_time ASC"],
            )
            return str(runs[0].info.run_id) if runs else None

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, RunTag

        with self._failing("annotate a run"):
            run = self._run(run_id)
            if run is None:
                return
            moment = run.info.end_time or 0
            self._client().log_batch(
                run_id,
                metrics=[Metric(name, value, moment, 0) for name, value in metrics.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str, entry_sha256: str) -> None:
        name = f"flts-{scope}"
        with self._failing("register the champion"):
            client = self._client()
            if self._run(run_id) is None:
                return
            _found_or_made(partial(self._registered, name))
            versions = client.search_model_versions(f"name = '{name}'")
            version = next((v.version for v in versions if v.tags.get(BUNDLE_TAG) == bundle_sha256), None)
            if version is None:
                source = f"runs:/{run_id}/{model_type}"
                tags = {BUNDLE_TAG: bundle_sha256}
                version = client.create_model_version(name, source, run_id=run_id, tags=tags).version
            _found_or_made(partial(client.set_model_version_tag, name, version, ENTRY_TAG, entry_sha256))
            # last: who follows it finds the tag
            _found_or_made(partial(client.set_registered_model_alias, name, ALIAS, version))

    def look(self, run_id: str) -> SeenRun | None:
        with self._failing("show a run"):
            run = self._run(run_id) if self._exists() else None
            if run is None:
                return None
            experiment = self._client().get_experiment(run.info.experiment_id)
            return SeenRun(
                experiment.name,
                run.info.status,
                dict(run.data.tags),
                dict(run.data.metrics),
                run.info.start_time,
                run.info.end_time,
            )

    def champion(self, scope: str) -> Mapping[str, str] | None:
        from mlflow.exceptions import MlflowException

        with self._failing("show the champion"):
            if not self._exists():
                return None
            try:
                version = self._client().get_model_version_by_alias(f"flts-{scope}", ALIAS)
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise
            return dict(version.tags)

    def check(self) -> None:
        if self._embedded:
            return
        try:
            with urlopen(f"{self.uri.rstrip('/')}/health", timeout=2.0):  # noqa: S310 - the address is the one runs are logged to
                return
        except OSError as error:
            raise BackendUnavailable(
                f"MLflow at {self.uri} does not answer: {error}", code="tracker-unavailable"
            ) from None

    def close(self) -> None:
        if self._opened is not None:
            self._remove_folder_of_uri()
        self._opened = None

    def _exists(self) -> bool:
        """Whether there is anything to look at: to open an absent database would make it."""
        file = file_of(self.uri)
        return file is None or file.exists()

    def _client(self) -> MlflowClient:
        if self._opened is None:
            from mlflow import MlflowClient

            # its notes about tables and requirements are for its direct users
            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.ERROR)
            make_whole(
                self.uri,
                lambda uri: MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(),
                template_here(),
            )
            self._opened = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            self._remove_folder_of_uri()
        return self._opened

    def _remove_folder_of_uri(self) -> None:
        """Remove the folder that mlflow makes of a URI with %, beside that of the path, with each store it opens."""
        if self._embedded and "%" in self.uri:
            with suppress(OSError):  # the first one that is not empty is somebody's
                for folder in Path(self.uri.removeprefix("sqlite:///")).parents:
                    folder.rmdir()

    def _run(self, run_id: str, *, deleted: bool = False) -> Run | None:
        """A run; None when it is in another database. deleted: also one that was deleted, which MLflow can undo."""
        from mlflow.entities import LifecycleStage
        from mlflow.exceptions import MlflowException

        try:
            run = self._client().get_run(run_id)
            return run if deleted or run.info.lifecycle_stage == LifecycleStage.ACTIVE else None
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _experiment(self, scope: str) -> str:
        """The id of the scope's experiment. In an embedded database, closes runs that a killed process left open."""
        if scope not in self._experiments:
            client, name = self._client(), experiment_of(scope)
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                self._experiments[scope] = _found_or_made(partial(self._made, scope))
            else:
                self._experiments[scope] = experiment.experiment_id
                if self._embedded:
                    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
                        client.set_terminated(run.info.run_id, "KILLED")
        return self._experiments[scope]

    def _begin(self, experiment: str, run: TrackedRun, run_id: str | None) -> Run:
        """The run to write: a new one, or the one with this id, of which a killed process may have written a part."""
        client = self._client()
        if run_id is None:
            return client.create_run(
                experiment, start_time=run.started_ms, run_name=run.model_type, tags=dict(run.tags)
            )
        begun = self._run(run_id)
        if begun is None:
            add_run(self.uri, experiment, client.get_experiment(experiment).artifact_location, run_id, run)
            begun = client.get_run(run_id)
        return begun

    def _gone(self, run_id: str) -> str | None:
        """The id of a run that a person deleted: it stays deleted."""
        return run_id if self._run(run_id, deleted=True) and not self._run(run_id) else None

    def _made(self, scope: str) -> str:
        """The id of a new experiment, or of the one that is there meanwhile."""
        client, name = self._client(), experiment_of(scope)
        there = client.get_experiment_by_name(name)
        if there is not None:
            found: str = there.experiment_id
            return found
        location = (self._artifacts / scope).as_uri() if self._embedded else None
        made: str = client.create_experiment(name, artifact_location=location)
        if self._embedded:  # on a server, other processes may log to it from now on
            self._new.add(made)
        return made

    def _registered(self, name: str) -> None:
        """Make a registered model where it is absent."""
        from mlflow.exceptions import MlflowException

        try:
            self._client().get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client().create_registered_model(name, description="Promoted by FLTS; the alias follows its log.")

    def _logged_before(self, experiment: str, run: TrackedRun) -> str | None:
        """The id of this same run, where a process logged it and died before it could report the id.

        Runs that it left half written are closed: no process writes to them any more.
        """
        if experiment in self._new or not set(IDENTITY_TAGS) <= run.tags.keys():
            return None
        same = " and ".join(f"tags.`{name}` = '{run.tags[name]}'" for name in IDENTITY_TAGS)
        complete = None
        for candidate in self._client().search_runs([experiment], same):
            if candidate.info.status == "RUNNING":
                self._client().set_terminated(candidate.info.run_id, "KILLED")
            elif candidate.info.status == run.status and run.tags.items() <= candidate.data.tags.items():
                complete = complete or str(candidate.info.run_id)
        return complete

    def _lay_out(self, run: TrackedRun, folder: Path) -> None:
        """Write the artifacts as files, and the bundle as an MLflow model whose code is flts itself."""
        for path, data in run.artifacts.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        if run.bundle is not None:
            own = f"flts[{run.extra}]=={__version__}" if run.extra else f"flts=={__version__}"
            write_model(folder / run.model_type, run.bundle, run.columns, [own, *run.packages])

    @contextmanager
    def _failing(self, verb: str) -> Iterator[None]:
        """Raise MLflow's errors as errors of FLTS: Transient for a server that is away, Terminal for all others."""
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        broken: type[Exception] = MlflowException
        if self._embedded:  # only then is the library of databases there
            from sqlalchemy.exc import DatabaseError

            broken = DatabaseError  # of a file that is no database
        try:
            yield
        except (MlflowException, broken) as error:
            if self._embedded or not isinstance(error, MlflowException):
                what = f"the MLflow database {self.uri} could not {verb}"
                raise lacking(lacking_in(str(error)), what) or StageFailed(
                    f"{what}: {str(error).partition(chr(10))[0]}; --tracking off runs without it", code="tracker-failed"
                ) from error
            reason = f"MLflow at {self.uri} could not {verb}: {error}"
            if error.error_code in REFUSED:
                raise UsageError(
                    f"{reason}; look at MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD",
                    code="login-refused",
                ) from error
            if error.error_code in AWAY:
                raise BackendUnavailable(reason, code="tracker-unavailable") from error
            raise StageFailed(reason, code="tracker-failed") from error
        except RequestException as error:  # uploads of artifacts raise the errors of requests
            raise BackendUnavailable(
                f"MLflow at {self.uri} could not {verb}: {error}", code="tracker-unavailable"
            ) from error
        except OSError as error:  # a file of this machine: a temporary one, or an artifact beside an embedded database
            raise lacking(error.errno, f"MLflow could not {verb}: {error}") or StageFailed(
                f"MLflow could not {verb}: {error}", code="tracker-failed"
            ) from error


def _found_or_made(work: Callable[[], T]) -> T:
    """What `work` finds or makes. Several processes may be at it at once: who is late finds it next time."""
    from mlflow.exceptions import MlflowException

    try:
        return work()
    except MlflowException as error:
        if error.error_code not in TAKEN:
            raise
        return work()


def _allowed(name: str) -> str:
    """The name of a metric, which may contain that of a target, without the characters that MLflow refuses."""
    return re.sub(r"[^\w\-. :]", "_", name)
