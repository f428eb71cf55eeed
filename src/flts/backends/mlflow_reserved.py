"""A run of an embedded MLflow database under an id that was chosen before MLflow was there.

MLflow's client gives every run an id of its own choice. The promotion log names the tracked run of its champion, and
does not wait until MLflow is imported; so the run is added as MLflow's own store adds it, by its tables.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import closing

from flts.contracts.ports import TrackedRun


def new_id() -> str:
    """An id as MLflow makes them."""
    return uuid.uuid4().hex


def add_run(uri: str, experiment_id: str, location: str, run_id: str, run: TrackedRun) -> None:
    """Begin a run under this id. location: of the artifacts of its experiment. Raises the errors of SQLAlchemy."""
    from mlflow.entities import LifecycleStage, RunStatus, SourceType
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
    from mlflow.utils.uri import append_to_uri_path
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import NullPool

    tags: Mapping[str, str] = {**run.tags, MLFLOW_RUN_NAME: run.model_type}
    with closing(Session(create_engine(uri, poolclass=NullPool))) as session, session.begin():
        session.add(
            SqlRun(
                run_uuid=run_id,
                experiment_id=int(experiment_id),
                name=run.model_type,
                artifact_uri=append_to_uri_path(location, run_id, "artifacts"),  # type: ignore[no-untyped-call]  # of MLflow
                source_type=SourceType.to_string(SourceType.UNKNOWN),
                source_name="",
                entry_point_name="",
                user_id="unknown",
                status=RunStatus.to_string(RunStatus.RUNNING),
                start_time=run.started_ms,
                source_version="",
                lifecycle_stage=LifecycleStage.ACTIVE,
                tags=[SqlTag(key=name, value=value) for name, value in tags.items()],
            )
        )
