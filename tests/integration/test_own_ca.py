"""Servers whose certificates a CA of one's own signed: with its bundle they are trusted, without it they are not.

S3, MLflow and PostgreSQL stand behind proxies that speak TLS; integration/test_kafka_tls.py has Kafka. The variables
are those that the chart sets where `caBundle` names a bundle, and the URL of PostgreSQL holds `sslrootcert`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy
import trustme
from tests.support.experiments import write_experiment
from tests.support.guarded import Front, listening
from tests.support.processes import processes

from flts.stack.mlflow import BUCKET, DATABASE, mlflow
from flts.stack.postgres import Postgres
from flts.stack.s3 import S3
from flts.stack.server import HOST, Server, accepts, ports
from flts.wiring import open_store

pytestmark = pytest.mark.long
BUNDLE = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
"""What the chart points at the bundle: S3 of FLTS, MLflow's client, S3 of MLflow's server."""


@dataclass(frozen=True)
class Encrypted:
    """Three servers behind TLS, and two bundles: the CA that signed, and one that signed nothing here."""

    ca: Path
    stranger: Path
    s3: str
    mlflow: str
    postgres: int
    password: str

    def database(self, ca: Path) -> str:
        """SQLAlchemy URL, as the Secret of postgresql.external holds it."""
        where = f"{HOST}:{self.postgres}/{DATABASE}?sslmode=verify-full&sslrootcert={ca}"
        return f"postgresql+psycopg2://postgres:{self.password}@{where}"


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3, database_server: Postgres
) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("encrypted")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.cert_pem.write_to_path(str(folder / "stranger.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    port = ports(folder, "s3", "mlflow", "postgres")
    found = Encrypted(
        folder / "ca.pem",
        folder / "stranger.pem",
        f"https://{HOST}:{port['s3']}",
        f"https://{HOST}:{port['mlflow']}",
        port["postgres"],
        database_server.password,
    )
    plain = mlflow(tmp_path_factory.mktemp("mlflow"), database_server, s3_server)
    backends = {
        "MLFLOW_BACKEND_STORE_URI": found.database(found.ca),
        "MLFLOW_S3_ENDPOINT_URL": found.s3,
        "AWS_ENDPOINT_URL": found.s3,
        "AWS_CA_BUNDLE": str(found.ca),
    }
    server: Server = replace(plain, environment={**plain.environment, **backends})
    with ExitStack() as opened:
        opened.enter_context(listening(Front(_port(s3_server), tls), port["s3"]))
        opened.enter_context(listening(Front(database_server.port, tls, postgres=True), port["postgres"]))
        opened.enter_context(server)
        opened.enter_context(listening(Front(_port(server), tls), port["mlflow"]))
        assert all(map(accepts, port.values()))
        yield found


def _port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def ran(encrypted: Encrypted, storage: S3, folder: Path, ca: Path, *without: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a tracked `flts run`; the variables named last are those of this machine."""
    storage.make_buckets(["tests"])
    variables = dict.fromkeys(set(BUNDLE) - set(without), str(ca)) | {
        "AWS_ACCESS_KEY_ID": storage.credentials["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": storage.credentials["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": storage.credentials["AWS_REGION"],
        "FLTS_STORE": f"s3://tests/{folder.name}",
        "FLTS_S3_ENDPOINT": encrypted.s3,
        "FLTS_TRACKING": "mlflow",
        "FLTS_MLFLOW_URI": encrypted.mlflow,
        "FLTS_MLFLOW_TIMEOUT": "5",
        "FLTS_PATIENCE": "5",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    write_experiment(folder)
    with processes(folder / "logs", variables) as place:
        done = place.run("run", str(folder / "flts.toml"), "--json")
    return done.returncode, done.stdout, done.stderr


def test_a_run_reaches_its_store_and_mlflow_and_mlflow_its_own(
    encrypted: Encrypted, s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = ran(encrypted, s3_server, tmp_path, encrypted.ca)
    assert code == 0, err
    assert all(json.loads(out)["run_ids"].values())
    for name, value in s3_server.credentials.items():
        monkeypatch.setenv(name, value)
    assert open_store(f"s3://tests/{tmp_path.name}?endpoint={s3_server.url}").list("model-promotion/")
    assert open_store(f"s3://{BUCKET}?endpoint={s3_server.url}").list("artifacts/")


@pytest.mark.parametrize(("variable", "server"), [("SSL_CERT_FILE", "s3"), ("REQUESTS_CA_BUNDLE", "mlflow")])
def test_a_server_of_a_ca_that_is_not_in_the_bundle_is_refused(
    encrypted: Encrypted, s3_server: S3, tmp_path: Path, variable: str, server: str
) -> None:
    code, _, err = ran(encrypted, s3_server, tmp_path, encrypted.ca, variable)
    assert code == 3, err
    assert getattr(encrypted, server) in err
    assert "Traceback" not in err


def test_the_database_is_verified_by_its_own_bundle(encrypted: Encrypted) -> None:
    for ca, trusted in ((encrypted.ca, True), (encrypted.stranger, False)):
        engine = sqlalchemy.create_engine(encrypted.database(ca), poolclass=sqlalchemy.NullPool)
        if trusted:
            with engine.connect() as connection:
                said = connection.execute(sqlalchemy.text("select 1")).scalar()
            assert said == 1
        else:
            with pytest.raises(sqlalchemy.exc.OperationalError, match="certificate verify failed"):
                engine.connect()
