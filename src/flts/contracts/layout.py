"""The names of all objects in the store. The first part of a name is the bucket, the rest the key in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from flts.contracts.errors import UsageError

SCOPE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
BUCKETS = (
    "dataset",
    "processed-data",
    "specs",
    "bundles",
    "models",
    "model-promotion",
    "inference-logs",
    "runs",
    "quarantine",
)
"""The first part of every key, each of which may be a bucket of its own."""
KEY_PART = "[A-Za-z0-9_][A-Za-z0-9._=+@ -]{0,199}"
"""A part of a key between two '/': a file name, with room for the suffix of a temporary file."""
KEY_LENGTH = 512
RUN_NUMBER = "(?!0000)(?:[0-9]{4}|[1-9][0-9]{4,8})"
"""The folder of a run, as `run_part` names it."""


def scope_name(value: str) -> str:
    """The scope, valid as a part of a key. Raises ValueError."""
    if not SCOPE.fullmatch(value) or value == "current.json":
        raise ValueError(
            f"invalid scope '{value[:100]}': use a-z, 0-9, '.', '_' and '-', at most 63 characters, a letter or digit"
            " first"
        )
    return value


def chosen_scope(value: str) -> str:
    """The scope that a caller chose, before it becomes a part of a key. Raises UsageError."""
    try:
        return scope_name(value)
    except ValueError as error:
        raise UsageError(str(error), code="scope-invalid", scope=value) from None


def checked_key(bucket: str, key: str) -> str:
    """The key of an object named from outside. Raises ValueError for a name that could leave its bucket."""
    if bucket not in BUCKETS:
        raise ValueError(f"invalid bucket '{bucket[:100]}'; valid: {', '.join(BUCKETS)}")
    if len(key) > KEY_LENGTH:
        raise ValueError(f"invalid key in {bucket}: it has {len(key)} characters, at most {KEY_LENGTH} are allowed")
    wrong = next((part for part in key.split("/") if not re.fullmatch(KEY_PART, part)), None)
    if wrong is not None:
        raise ValueError(
            f"invalid key in {bucket}: '{wrong[:100]}' is not a valid part; each part between '/' starts with a"
            " letter, a digit or '_', may go on with '.', '-', '=', '+', '@' and spaces, and has at most 200 characters"
        )
    return f"{bucket}/{key}"


MADE_AGAIN = ("processed-data/", "models/")
"""Objects that the promotion log does not name and that a run makes again."""
LIVE = re.compile(r"inference-logs/(?P<scope>[^/]+)/live\.json")
"""The one object under `inference-logs/` that is made again."""
RECORDED_ONCE = ("runs/", "inference-logs/")
"""Records of what happened: nothing makes them again, and the promotion log does not name them."""
FORECASTS = re.compile(r"models/(?P<model_hash>[^/]+)/windows/(?P<windows_hash>[^/]+)/forecasts\.parquet")
"""Test forecasts. While their commit point exists, a run reads them; without it, a run makes both, also for a champion
that is none of its candidates and that `--recompute` therefore leaves alone."""


def mend(key: str) -> str:
    """What to do about a damaged object: one that no run makes again is restored, never deleted."""
    if table := FORECASTS.fullmatch(key):
        return f"delete it and {windows_result(**table.groupdict())}, and the next run that needs them makes both again"
    if key.startswith("bundles/"):
        return (
            "restore it from a backup, or `flts run --recompute` of its own experiment puts it aside and makes it again"
        )
    if key.startswith("models/") and "/windows/" not in key:
        return "`flts run --recompute` of its own experiment puts it aside and makes it again"
    if key.startswith(MADE_AGAIN):
        return "delete it, and `flts run --recompute` of its own experiment makes it again"
    if LIVE.fullmatch(key):
        return "delete it, and `flts predictions join --write` makes it again"
    if key.startswith(RECORDED_ONCE):
        return "restore it from a backup; do not delete it, nothing makes it again"
    return "restore it from a backup; do not delete it, the promotion log may refer to it"


def restore(key: str) -> str:
    """What to do about an absent object that another one names."""
    if table := FORECASTS.fullmatch(key):
        committed = windows_result(**table.groupdict())
        return f"restore it from a backup, or delete {committed}, and the next run that needs them makes both again"
    if key.startswith((*MADE_AGAIN, "bundles/")):
        return "restore it from a backup, or `flts run --recompute` of its own experiment makes it again"
    if key.startswith(RECORDED_ONCE):
        return "restore it from a backup; nothing makes it again"
    return "restore it from a backup; the promotion log may refer to it"


def spec(config_hash: str) -> str:
    """The Spec without its locators, as canonical JSON."""
    return f"specs/{config_hash}.json"


def config_hash_of(key: str) -> str | None:
    """The config_hash of a stored Spec; None for an object that somebody put beside them."""
    found = re.fullmatch(r"specs/([0-9a-f]{64})\.json", key)
    return found and found[1]


def known_input(input_hash: str) -> str:
    """The data_hash of an input that was processed before: raw bytes, and how the Spec reads them as it is written."""
    return f"processed-data/by-input/{input_hash}.json"


def train_rows(data_hash: str) -> str:
    """Finished train rows in original units."""
    return f"processed-data/{data_hash}/train.parquet"


def test_rows(data_hash: str) -> str:
    """Raw test rows in original units."""
    return f"processed-data/{data_hash}/test.parquet"


def meta(data_hash: str) -> str:
    """Everything fitted on train; written last, so it commits the two Parquet files."""
    return f"processed-data/{data_hash}/meta.json"


def bundle(bundle_sha256: str, name: str) -> str:
    """One file of a bundle; manifest.json is written last."""
    return f"bundles/{bundle_sha256}/{name}"


def model_result(model_hash: str) -> str:
    """The commit point of a model."""
    return f"models/{model_hash}/result.json"


def validation(model_hash: str) -> str:
    """Forecasts of the validation windows by a fit that did not see them."""
    return f"models/{model_hash}/validation.parquet"


def latency(model_hash: str) -> str:
    """The duration of one forecast, measured once where a limit needs it."""
    return f"models/{model_hash}/latency.json"


def forecasts(model_hash: str, windows_hash: str) -> str:
    """Forecasts of the test windows; neither truth nor score."""
    return f"models/{model_hash}/windows/{windows_hash}/forecasts.parquet"


def windows_result(model_hash: str, windows_hash: str) -> str:
    """The commit point of the test forecasts."""
    return f"models/{model_hash}/windows/{windows_hash}/result.json"


def decisions(scope: str) -> str:
    """The folder of all decisions of a scope, with their previews."""
    return f"model-promotion/{scope}/decisions/"


def decision(scope: str, decision_id: str) -> str:
    """One decision."""
    return f"{decisions(scope)}{decision_id}.json"


def preview(scope: str, decision_id: str) -> str:
    """The last scored origins of a decision's winner, for a page."""
    return f"{decisions(scope)}{decision_id}.preview.json"


def log(scope: str) -> str:
    """The folder of the promotion log."""
    return f"model-promotion/{scope}/log/"


def log_entry(scope: str, number: int) -> str:
    """One entry of the promotion log; numbers start at 1."""
    return f"{log(scope)}{number:08d}.json"


def log_snapshot(scope: str) -> str:
    """The beginning of a long promotion log in one object; a projection of the log."""
    return f"model-promotion/{scope}/log-snapshot.json"


def is_log_entry(key: str) -> bool:
    """Whether an object is an entry of a promotion log; a copy or a note that somebody put beside them is none."""
    named = re.fullmatch(r"model-promotion/([^/]+)/log/([0-9]{8,})\.json", key)
    return named is not None and int(named[2]) > 0 and log_entry(named[1], int(named[2])) == key


def root_pointer() -> str:
    """The champion of scope 'global', under the name that the first system used."""
    return "model-promotion/current.json"


def scope_pointer(scope: str) -> str:
    """The champion of a scope."""
    return f"model-promotion/{scope}/current.json"


def config_pointer(scope: str, config_hash: str) -> str:
    """The newest promotion of one configuration; absent when it was never promoted."""
    return f"model-promotion/{scope}/{config_hash}/current.json"


def is_config_pointer(key: str) -> bool:
    """Whether an object is the pointer of one configuration."""
    return re.fullmatch(r"model-promotion/[^/]+/[0-9a-f]{64}/current\.json", key) is not None


def runs(config_hash: str) -> str:
    """The folder of all runs of a configuration."""
    return f"runs/{config_hash}/"


def run_folder(config_hash: str, run: int) -> str:
    """The folder of one run."""
    return f"{runs(config_hash)}{run:04d}/"


def run_part(config_hash: str, run: int, part: str) -> str:
    """One part of a run's record: claim, preprocess, train-<model>, judge."""
    return f"{run_folder(config_hash, run)}{part}.json"


def failure(config_hash: str, run: int, model: str) -> str:
    """Why one model of a run has no forecast."""
    return run_part(config_hash, run, f"failures/{model}")


def seals(config_hash: str, run: int) -> str:
    """The folder of the seals of a run."""
    return f"{run_folder(config_hash, run)}seals/"


def seal(config_hash: str, run: int, judge_sha256: str) -> str:
    """What seals the judge's part of a run."""
    return f"{seals(config_hash, run)}{judge_sha256}.json"


def sent(config_hash: str, run: int, event_id: str) -> str:
    """Where a message about a run lies on its broker."""
    return f"{run_folder(config_hash, run)}sent/{event_id}.json"


def work_mark(group: str, topic: str, partition: int, slot: int) -> str:
    """A message of a partition that a group works on."""
    return f"runs/in-work/{group}/{topic}/{partition}-{slot}.json"


class RunEntry(NamedTuple):
    """What the index of runs says of a run, all of it by the name of an object: when it began, and which it is."""

    began: datetime
    config_hash: str
    run: int

    @property
    def order(self) -> tuple[float, str, int]:
        """Sorts the newest run first; of those of one moment, the one with the highest number of a configuration."""
        return -self.began.timestamp(), self.config_hash, -self.run

    @property
    def name(self) -> str:
        """The last part of its key, which `run_entry_of` reads."""
        at = self.began
        moment = f"{at.year:04}{at.month:02}{at.day:02}T{at:%H%M%S.%f}Z"
        return f"{moment}-{self.config_hash}-{self.run:04}"


# Every key below runs/ has three parts or more: an evaluator of an earlier flts takes the third for a number.
def run_index() -> str:
    """From when on the index of runs is complete."""
    return "runs/index/since.json"


BY_SCOPE = "runs/by-scope/"


def run_entries(scope: str | None = None) -> str:
    """The folder of the index of all runs, or of those of a scope."""
    return "runs/by-time/" if scope is None else f"{BY_SCOPE}{scope}/"


def run_entry(entry: RunEntry, scope: str | None = None) -> str:
    """The entry of a run in the index, in a folder of its month, its day and its minute."""
    at = entry.began
    return f"{run_entries(scope)}{at.year:04}-{at.month:02}/{at.day:02}/{at:%H%M}/{entry.name}"


def open_runs() -> str:
    """The folder of the marks of runs that wait for their judgement."""
    return "runs/open/"


def open_run(entry: RunEntry) -> str:
    """The mark of a run that waits for its judgement."""
    return f"{open_runs()}{entry.name}"


def decided_by(decision_id: str) -> str:
    """Which run came to a decision first."""
    return f"runs/by-decision/{decision_id}.json"


def run_entry_of(key: str) -> RunEntry | None:
    """The run that an entry of the index or a mark names; None for an object that somebody put beside them."""
    found = re.fullmatch(
        rf"([0-9]{{8}}T[0-9]{{6}}\.[0-9]{{6}})Z-([0-9a-f]{{64}})-({RUN_NUMBER})", key.rpartition("/")[2]
    )
    if found is None:
        return None
    try:
        began = datetime.strptime(found[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    return RunEntry(began, found[2], int(found[3]))


def inference_logs(scope: str, day: str = "") -> str:
    """The folder of all logged forecasts of a scope, or of one day (YYYYMMDD)."""
    return f"inference-logs/{scope}/{day}/" if day else f"inference-logs/{scope}/"


def inference_log(scope: str, day: str, part: str) -> str:
    """Logged forecasts of a server or of one batch; day is YYYYMMDD, part a UUID."""
    return f"{inference_logs(scope, day)}{part}.jsonl"


class InferencePart(NamedTuple):
    """What the key of logged forecasts says."""

    scope: str
    day: str
    part: str


def inference_part(key: str) -> InferencePart | None:
    """The scope, day and part of logged forecasts; None for an object that is none."""
    found = re.fullmatch(rf"inference-logs/({SCOPE.pattern})/([0-9]{{8}})/({KEY_PART})\.jsonl", key)
    return found and InferencePart(*found.groups())


def live(scope: str) -> str:
    """The live error of a scope; a projection of its logged forecasts and of truth, and so it may be replaced."""
    return f"{inference_logs(scope)}live.json"


def answered(scope: str, part: str) -> str:
    """Which day the forecasts of a request or batch lie under: the same request may be sent again on another one."""
    return f"inference-logs/{scope}/days/{part}.json"


def quarantined(time: str, key: str) -> str:
    """A damaged object that was put aside at this time (YYYYMMDDTHHMMSS.ffffffZ), under its own key."""
    return f"quarantine/{time}/{key}"


def quarantine_record(time: str, folder: str) -> str:
    """What was put aside of a folder, and why; folder ends with '/'."""
    return f"quarantine/{time}/{folder}quarantine.json"


IDENTITIES = tuple(
    re.compile(pattern)
    for pattern in (
        r"processed-data/(?P<data_hash>[^/]+)/meta\.json",
        r"processed-data/by-input/(?P<input_hash>[^/]+)\.json",
        r"models/(?P<model_hash>[^/]+)/(?:windows/(?P<windows_hash>[^/]+)/)?[^/]+\.json",
        r"model-promotion/(?P<scope>[^/]+)/decisions/(?P<decision_id>[^/.]+)\.json",
        r"model-promotion/(?P<scope>[^/]+)/log/(?P<number>[0-9]+)\.json",
        r"model-promotion/(?P<scope>[^/]+)/log-snapshot\.json",
        r"model-promotion/(?P<scope>[^/]+)/(?:(?P<config_hash>[^/]+)/)?current\.json",
        r"inference-logs/(?P<scope>[^/]+)/days/(?P<request_id>[^/]+)\.json",
        r"runs/by-decision/(?P<decision_id>[^/]+)\.json",
        r"runs/[^/]+/(?P<run>[0-9]+)/seals/(?P<judge_sha256>[^/]+)\.json",
        r"runs/[^/]+/(?P<run>[0-9]+)/sent/(?P<event_id>[^/]+)\.json",
        r"runs/[^/]+/(?P<run>[0-9]+)/(?:(?:train-|failures/)(?P<model>[^/]+)|[^/]+)\.json",
        LIVE.pattern,
    )
)
"""The keys of records, with the fields of the record that the key repeats."""


def identity(key: str) -> dict[str, str | int]:
    """The fields that a record must have to lie under this key, by name."""
    found = next((match for match in (pattern.fullmatch(key) for pattern in IDENTITIES) if match), None)
    named = found.groupdict() if found else {}
    whole = {"number", "run"}
    return {field: int(value) if field in whole else value for field, value in named.items() if value is not None}


def run_number(key: str) -> int | None:
    """The number of the run whose part has this key; None for an object beside the runs, which is no part of any."""
    folder = key.split("/")[2:3]
    return int(folder[0]) if folder and re.fullmatch(RUN_NUMBER, folder[0]) else None
