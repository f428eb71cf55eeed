"""Opens the backends that Settings name and hands them to the stages; the only importer of `backends`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flts.contracts.errors import MissingExtra, UsageError
from flts.contracts.layout import BUCKETS
from flts.contracts.ports import Bus, Clock, Store, StreamedStore, Tracker
from flts.home import check_home, locked, open_home
from flts.preprocess.limits import Limits
from flts.preprocess.source import RawInput, locate
from flts.spec.dataset import Dataset
from flts.train.determinism import cores
from flts.train.isolate import Children

if TYPE_CHECKING:
    from flts.settings import Settings


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class RunContext:
    """The backends and limits that the stages of one process share."""

    store: Store
    bus: Bus
    tracker: Tracker | None
    clock: Clock
    environment: str
    train_timeout: float
    children: Children
    limits: Limits = field(default_factory=Limits)
    deployment: dict[str, str] | None = None
    behind: list[Callable[[], object]] | None = None
    """What the tracker is told once the champion is known; None in a service, which tells it at once."""

    def close(self) -> None:
        """End running fits and close the tracker."""
        self.children.cancel()
        if self.tracker is not None:
            self.tracker.close()


@contextmanager
def locked_context(settings: Settings, *, threads: int = 1, wait: bool = False) -> Iterator[RunContext]:
    """The backends that `settings` name, opened under the lock of its folder and closed at the end.

    threads: of one fit; as many fits run at once as the cores allow. Raises UsageError for a folder or store that
    cannot be used, Locked when another process uses the folder.
    """
    home = open_home(settings.home)
    with locked(home, wait=wait):
        store = open_store(settings.store_url)
        if store.url.startswith("memory:"):
            raise UsageError(
                "store = memory:/// is visible to one process only, and each model is fitted in its own; set store to a"
                " folder or to s3://bucket/prefix",
                code="store-not-shared",
                store=store.url,
            )
        with _opened(settings, store, open_bus(), threads) as context:
            yield context


@contextmanager
def shared_context(settings: Settings, *, threads: int = 1) -> Iterator[RunContext]:
    """The backends that `settings` name, shared with other processes: opened without a lock, closed at the end.

    Raises UsageError for a store or a bus that only one process can see.
    """
    if not settings.store or settings.store.startswith("memory:"):
        raise UsageError(
            "a service shares its store with others: set store (FLTS_STORE) to s3://bucket/prefix, or to a folder that"
            " all of them see, file:///folder",
            code="store-not-shared",
            store=settings.store or "",
        )
    bus = open_bus(settings)
    if bus.url.startswith("memory:"):
        raise UsageError(
            "a service shares its bus with others: set bus (FLTS_BUS) to kafka://host:port",
            code="bus-not-shared",
            bus=bus.url,
        )
    with closing(bus), _opened(settings, open_store(settings.store_url), bus, threads) as context:
        yield context


@contextmanager
def _opened(settings: Settings, store: Store, bus: Bus, threads: int) -> Iterator[RunContext]:
    context = RunContext(
        store,
        bus,
        open_tracker(settings),
        SystemClock(),
        settings.environment,
        settings.train_timeout,
        Children(settings.jobs or max(1, cores() // threads)),
        limits_of(settings),
        settings.deployment(),
    )
    try:
        yield context
    finally:
        context.close()


def open_store(url: str, *, make: bool = True) -> StreamedStore:
    """The object store behind a URL. make: its folder where there is none; else that raises UsageError."""
    from flts.backends.store import open_store as opened

    return opened(url, make=make)


def existing_store(settings: Settings) -> StreamedStore:
    """The store of an earlier run, of which nothing is made. Raises UsageError where nothing was run yet."""
    if not settings.store:
        if not (settings.home / "VERSION").exists():
            raise UsageError(
                f"{settings.home} not found; create it with `flts run`, or name another folder with --home",
                code="no-home",
                folder=str(settings.home),
            )
        check_home(settings.home)
    return open_store(settings.store_url, make=not settings.store)


def store_at(where: str, settings: Settings) -> StreamedStore:
    """The store behind a URL, a folder of objects or a `.flts` folder; that of the settings for an empty name.

    Raises UsageError for a folder that is none of them.
    """
    if not where:
        return existing_store(settings)
    if "://" in where:
        return open_store(settings.at_endpoint(where))
    folder = Path(where)
    if (folder / "VERSION").is_file():
        check_home(folder)
        folder /= "objects"
    if not (folder / "specs").is_dir():
        raise UsageError(
            f"{where}: holds no runs; name a .flts folder, the folder of a store, or its URL",
            code="no-store",
            folder=where,
        )
    return open_store(folder.resolve().as_uri())


def make_buckets(settings: Settings, further: Sequence[str] = ()) -> list[str]:
    """Make the absent buckets of the store, and further ones beside them; returns their names.

    A store that is no S3 needs none. Raises UsageError where the keys may not make one, BackendUnavailable.
    """
    from flts.backends import s3

    if urlsplit(settings.store_url).scheme != "s3":
        return []
    location = s3.parse(settings.store_url)
    own = [location.bucket] if location.bucket else [f"{location.prefix}{name}" for name in BUCKETS]
    return [name for name in [*own, *further] if s3.make_bucket(location, name)]


def open_bus(settings: Settings | None = None) -> Bus:
    """The bus that settings name; without settings, one in memory. Raises UsageError, MissingExtra."""
    if settings is None or settings.bus.startswith("memory:"):
        from flts.backends.bus_memory import MemoryBus

        return MemoryBus(lasting=False)
    from flts.backends.bus_kafka import KafkaBus
    from flts.backends.kafka_client import KafkaOptions

    return KafkaBus(
        KafkaOptions(
            brokers=urlsplit(settings.bus).netloc,
            partitions=settings.kafka_partitions,
            replication=settings.kafka_replication,
            member=settings.kafka_member,
            session_timeout=settings.kafka_session_timeout,
            timeout=settings.kafka_timeout,
            options=settings.kafka_options,
            password=settings.sasl_password() or "",
            key_password=settings.key_password() or "",
        )
    )


def open_tracker(settings: Settings) -> Tracker | None:
    """MLflow, or None where tracking is off. MLflow itself is imported when the first run is logged.

    Raises MissingExtra when tracking asks for MLflow and it is not installed.
    """
    installed = importlib.util.find_spec("mlflow") is not None
    if settings.tracking == "off" or (settings.tracking == "auto" and not installed):
        return None
    if not installed:
        raise MissingExtra("tracking = mlflow", "mlflow")
    from flts.backends.one_thread import InOneThread
    from flts.backends.tracking import MlflowTracker

    mlflow = MlflowTracker(settings.tracking_uri, settings.home.resolve() / "mlflow-artifacts")
    return InOneThread(mlflow, settings.mlflow_timeout)


def check_tracker_file(settings: Settings) -> None:
    """Raise StageFailed where the MLflow database of this machine is half-made."""
    from flts.backends.mlflow_file import file_of, refuse_half_made

    file = file_of(settings.tracking_uri)
    if file is not None:
        refuse_half_made(file)


def open_raw(dataset: Dataset, folder: Path, settings: Settings | None = None) -> RawInput:
    """The raw files of a Spec. folder: base of relative paths; settings: name the S3 endpoint and the limits."""
    source, limits = dataset.source, limits_of(settings) if settings else Limits()
    scheme = urlsplit(source).scheme
    if scheme not in {"", "file"}:
        store = open_store(settings.at_endpoint(source) if settings else source)
        return locate(dataset, store.get, source, limits)
    data_folder = folder / source
    if scheme:
        from flts.backends.folder import named_by

        data_folder = folder / named_by(source, "dataset.source")

    def on_disk(name: str) -> Path | None:
        path = data_folder / name
        return path if path.is_file() else None

    return locate(dataset, on_disk, str(data_folder), limits)


def limits_of(settings: Settings) -> Limits:
    """How large a table may become in memory."""
    return Limits(settings.max_cells, settings.max_decoded_bytes)
