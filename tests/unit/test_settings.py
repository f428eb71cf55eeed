"""Settings come from flags, environment, file and defaults, in this order."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts.errors import UsageError
from flts.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no settings file of the person who runs the tests is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_setting_has_a_documented_default() -> None:
    assert load_settings() == Settings()
    assert all(field.description for field in Settings.model_fields.values())


def test_a_flag_beats_the_environment_which_beats_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "flts-settings.toml").write_text('jobs = 1\nenvironment = "file"\ntracking = "off"\n')
    monkeypatch.setenv("FLTS_JOBS", "2")
    monkeypatch.setenv("FLTS_ENVIRONMENT", "env")
    settings = load_settings(jobs=3, home=None)
    assert (settings.jobs, settings.environment, settings.tracking) == (3, "env", "off")
    assert settings.home == Path(".flts")


def test_the_settings_file_may_be_named_in_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "flts-settings.toml").write_text("jobs = 1\n")
    (folder / "other.toml").write_text("jobs = 2\n")
    monkeypatch.setenv("FLTS_SETTINGS_FILE", "other.toml")
    assert load_settings().jobs == 2


def test_a_variable_in_lower_case_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("flts_jobs", "7")
    assert load_settings().jobs == 7


def test_variables_of_the_spec_are_not_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_SPEC__SAMPLE__TRAIN_ROWS", "5")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "key", "fits"),
    [
        ("FLTS_JOBS", "x", "jobs", "valid integer"),
        ("FLTS_JOBS", "-1", "jobs", "greater than or equal to 0"),
        ("FLTS_TRACKING", "of", "tracking", "'auto', 'mlflow' or 'off'"),
        ("FLTS_TRAIN_TIMEOUT", "0", "train_timeout", "greater than 0"),
        ("FLTS_ENVIRONMENT", "A b", "environment", "^[a-z0-9]"),
        ("FLTS_LOG_FORMAT", "xml", "log_format", "'auto', 'json', 'text' or 'off'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_key_what_was_found_and_what_fits(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, key: str, fits: str
) -> None:
    monkeypatch.setenv(variable, value)
    with raises(UsageError, code="setting-invalid", setting=[key]) as raised:
        load_settings()
    assert fits in str(raised.value)
    assert f"(found '{value}')" in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("FLTS_STOER", "FLTS_STORE"), ("FLTS_KAFKA_OPTION", "FLTS_KAFKA_OPTIONS"), ("flts_mlflow_url", "FLTS_MLFLOW_URI")],
)
def test_a_variable_that_is_almost_a_setting_is_refused_instead_of_ignored(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "x")
    with raises(UsageError, code="setting-unknown", setting=variable, expected=meant):
        load_settings()


@pytest.mark.parametrize(
    "variable",
    [
        *("FLTS_STORE_SERVICE_HOST", "FLTS_STORE_PORT", "FLTS_STORE_PORT_8333_TCP_ADDR", "FLTS_MLFLOW_PORT"),
        *("FLTS_SETTINGS_FILE_", "FLTS_SPEC__SAMPLE__TRAIN_ROWS", "FLTS_VERSION", "STOER"),
    ],
)
def test_what_kubernetes_and_others_put_into_the_environment_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    without = load_settings()
    monkeypatch.setenv(variable, "tcp://10.0.0.1:8333")
    assert load_settings() == without


def test_an_unknown_setting_is_refused_with_the_nearest_valid_one(folder: Path) -> None:
    with raises(UsageError, code="setting-unknown", setting=["job"]) as raised:
        load_settings(job=3)
    assert "did you mean 'jobs'?" in str(raised.value)
    assert raised.value.exit_code == 2
    (folder / "flts-settings.toml").write_text("stoer = 'x'\n")
    with raises(UsageError, code="setting-unknown", setting=["stoer"]):
        load_settings()


@pytest.mark.parametrize("content", [b"jobs = ", b"\xff\xfe"])
def test_a_settings_file_that_is_not_toml_is_named(folder: Path, content: bytes) -> None:
    (folder / "flts-settings.toml").write_bytes(content)
    with raises(UsageError, code="settings-file-unreadable", file="flts-settings.toml") as raised:
        load_settings()
    assert "\n" not in str(raised.value)


def test_the_store_and_the_tracker_default_to_places_in_the_home(folder: Path) -> None:
    settings = load_settings(home=Path("a b"))
    assert settings.store_url == (folder / "a b" / "objects").as_uri()
    assert settings.store_url.endswith("/a%20b/objects")
    assert settings.tracking_uri == f"sqlite:///{folder / 'a b' / 'mlflow.db'}"


def test_a_store_and_a_tracker_that_are_named_are_taken_as_they_are() -> None:
    settings = load_settings(store="s3://bucket/prefix", mlflow_uri="http://mlflow:5000")
    assert (settings.store_url, settings.tracking_uri) == ("s3://bucket/prefix", "http://mlflow:5000")


def test_a_token_comes_from_its_file_or_as_it_is_and_is_never_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().bearer_token() is None
    (folder / "token").write_text("from-file\n")
    monkeypatch.setenv("FLTS_TOKEN_FILE", "token")
    assert load_settings().bearer_token() == "from-file"
    monkeypatch.setenv("FLTS_TOKEN", "from-environment")
    with raises(UsageError, code="setting-twice", setting="token"):
        load_settings().bearer_token()
    monkeypatch.delenv("FLTS_TOKEN_FILE")
    settings = load_settings()
    assert settings.bearer_token() == "from-environment"
    assert "from-environment" not in f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize("name", ["none", "binary"])
def test_a_token_file_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe")
    with raises(UsageError, code="secret-unreadable", setting="token_file", file=name):
        load_settings(token_file=Path(name)).bearer_token()


def test_a_token_of_the_wrong_type_is_refused_without_being_shown(folder: Path) -> None:
    (folder / "flts-settings.toml").write_text("token = 123456789\n")
    with raises(UsageError, code="setting-invalid", setting=["token"]) as raised:
        load_settings()
    assert "123456789" not in f"{raised.value} {raised.value.data}"


def test_the_password_for_kafka_is_given_or_read_as_the_token_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().sasl_password() is None
    (folder / "password").write_text("from-file\n")
    monkeypatch.setenv("FLTS_KAFKA_PASSWORD_FILE", "password")
    assert load_settings().sasl_password() == "from-file"
    monkeypatch.setenv("FLTS_KAFKA_PASSWORD", "from-environment")
    with raises(UsageError, code="setting-twice", setting="kafka_password"):
        load_settings().sasl_password()


def test_a_store_in_s3_is_named_with_its_endpoint_unless_its_url_has_one() -> None:
    settings = load_settings(store="s3://bucket/prefix", s3_endpoint="http://host:8333/")
    assert settings.store_url == "s3://bucket/prefix?endpoint=http://host:8333"
    assert settings.at_endpoint("s3://other?endpoint=http://there") == "s3://other?endpoint=http://there"
    assert settings.at_endpoint("file:///folder") == "file:///folder"
    assert load_settings(s3_endpoint="http://host:8333").store_url.startswith("file:///")
    with raises(UsageError, code="setting-invalid", setting=["s3_endpoint"]):
        load_settings(s3_endpoint="host:8333")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("s3_endpoint", "http://user:hush@host"),
        ("mlflow_uri", "http://me:hush@mlflow:5000"),
        ("mlflow_uri", "postgresql://me:hush@db/mlflow"),
        ("bus", "kafka://me:hush@broker:9092"),
        ("s3_endpoint", "http://me:hush@s3:9000"),
    ],
)
def test_an_address_with_a_password_in_it_is_refused_and_not_shown(name: str, value: str) -> None:
    with raises(UsageError, code="setting-invalid", setting=[name]) as raised:
        load_settings(**{name: value})
    assert "hush" not in f"{raised.value} {raised.value.data}"


def test_what_a_deployment_says_of_itself_is_recorded_with_the_host(tmp_path: Path) -> None:
    file = tmp_path / "release.json"
    assert load_settings(release_file=file).deployment() is None
    file.write_text('{"release": "north", "revision": 3, "cluster": "east"}')
    told = load_settings(release_file=file, node="worker-1").deployment()
    expected = {
        "release": "north",
        "revision": "3",
        "cluster": "east",
        "node": "worker-1",
        "host": socket.gethostname(),
    }
    assert told == expected
    file.write_text('{"image": "flts:3"}')
    for image in ({"container_image": "flts:4"}, {"release_file": file, "container_image": "flts:4"}):
        said = load_settings(**{"release_file": tmp_path / "none.json", **image}).deployment()
        assert said == {"image": "flts:3" if "release_file" in image else "flts:4", "host": socket.gethostname()}


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_a_release_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "release.json"
    file.write_text(text)
    with raises(UsageError, code="release-unreadable", file=str(file)):
        load_settings(release_file=file).deployment()


def test_a_variable_that_is_no_json_is_named_and_its_value_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_KAFKA_OPTIONS", '{"sasl.password": hush')
    with raises(UsageError, code="setting-invalid", setting=["kafka_options"]) as refused:
        load_settings()
    assert "FLTS_KAFKA_OPTIONS" in str(refused.value)
    assert "hush" not in str(refused.value)
