"""No secret that a person put in the wrong place is in anything that a command says or leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Flts

from flts.contracts.errors import DataError, UsageError, without_credentials

Said = Callable[..., tuple[int, str]]

HUSH = "hunter2-hush"
URLS = (
    f"s3://u:{HUSH}@h/x",
    f"s3://u:{HUSH}/{HUSH}@h/x",
    f"http://u:{HUSH}@h/x",
    f"s3://h/x?secret_access_key={HUSH}",
    f"//u:{HUSH}@h/x",
)


@pytest.fixture
def said_and_left(flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Exit code of a command, and everything that it prints and writes into the folder of its run."""

    def call(*arguments: str, **environment: str) -> tuple[int, str]:
        for name, value in ({"FLTS_LOG_FORMAT": "json"} | environment).items():
            monkeypatch.setenv(name, value)
        done = flts(*arguments)
        files = (path.read_text(errors="replace") for path in (folder / ".flts").rglob("*") if path.is_file())
        return done.code, "\n".join([done.out, done.err, *files])

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    "planted",
    [
        *({"FLTS_STORE": url} for url in URLS),
        {"FLTS_STORE": f"s3://b/x?endpoint=http://u:{HUSH}@127.0.0.1:9"},
        {"FLTS_STORE": f"file:///tmp/x?token={HUSH}"},
        {"FLTS_MLFLOW_URI": f"http://127.0.0.1:9?token={HUSH}", "FLTS_TRACKING": "mlflow"},
        {"FLTS_MLFLOW_URI": f"http://u:{HUSH}@127.0.0.1:9", "FLTS_TRACKING": "mlflow"},
        {"FLTS_S3_ENDPOINT": f"http://u:{HUSH}@127.0.0.1:9"},
        {"FLTS_BUS": f"kafka://u:{HUSH}@127.0.0.1:9"},
        {"FLTS_KAFKA_OPTIONS": f'{{"sasl": {{"password": "{HUSH}"}}}}'},
        {"FLTS_KAFKA_OPTIONS": f'{{"sasl.password": "{HUSH}"}}', "FLTS_BUS": "kafka://127.0.0.1:9"},
        pytest.param(
            {"FLTS_KAFKA_OPTIONS": f'{{"ssl.key.pem": "{HUSH}"}}', "FLTS_BUS": "kafka://127.0.0.1:9"},
            marks=pytest.mark.long,  # it waits for a broker for as long as patience says
        ),
    ],
)
def test_a_secret_in_a_setting_is_in_no_output(said_and_left: Said, planted: dict[str, str]) -> None:
    for command in ["run"], ["doctor"]:
        code, output = said_and_left(*command, **planted)
        assert code != 0 or "FLTS_BUS" in planted  # a run on one machine needs no bus
        assert output.strip()
        assert HUSH not in output
        assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("source", URLS)
@pytest.mark.parametrize("command", [["run"], ["config", "show"], ["preprocess"]])
def test_a_secret_in_the_source_of_the_rows_is_in_no_output(
    said_and_left: Said, source: str, command: list[str]
) -> None:
    code, output = said_and_left(*command, "--set", f"dataset.source='{source}'")
    assert code == 2
    assert "dataset.source" in output
    assert HUSH not in output


@pytest.mark.slow
def test_a_secret_in_a_url_that_is_taken_for_a_path_is_not_shown(said_and_left: Said) -> None:
    code, output = said_and_left("data", "inspect", f"https://u:{HUSH}@h/x.csv?token={HUSH}")
    assert code == 4
    assert HUSH not in output


@pytest.mark.slow
def test_a_secret_whose_name_is_not_in_quotes_is_not_shown_and_the_mend_is(said_and_left: Said, folder: Path) -> None:
    (folder / "flts-settings.toml").write_text(f'[kafka_options]\nsasl.password = "{HUSH}"\n')
    code, output = said_and_left("run")
    assert code == 2
    assert "in quotes" in output
    assert HUSH not in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "url",
    [
        *URLS,
        f"S3:k:{HUSH}@b/x",
        f"http:/u:{HUSH}@h",
        f"https://h/x;token={HUSH}",
        f"postgresql://me:{HUSH}@db/x",
        f"GET https://h/x?X-Amz-Signature={HUSH}&y=1",
    ],
)
def test_an_error_holds_no_credentials_in_its_message_or_its_data(url: str) -> None:
    error = UsageError(f"cannot reach '{url}', found {url!r}", url=url, all=[url])
    assert HUSH not in f"{error} {error!r} {dict(error.data)}"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix?endpoint=http://127.0.0.1:8333",
        "file:///home/me@corp/.flts/objects",
        "column 'a@b' of x?y=z is missing",
        "column 'load:b@c' at 12:00:00",
        "C:/Users/me@corp/x.csv",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(text: str) -> None:
    assert without_credentials(text) == text
    assert str(DataError(text)) == text
