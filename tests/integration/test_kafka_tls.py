"""TLS and logins from settings: valid ones work, invalid ones are named, and no password is shown."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from tests.support.guarded import guarded
from tests.support.processes import processes
from tests.support.raising import raises
from tests.support.services import LONG

from flts.backends.bus_kafka import KafkaBus
from flts.backends.kafka_client import KafkaOptions
from flts.contracts.errors import BackendUnavailable, UsageError
from flts.stack.server import HOST

BRIEF = 1.0
"""Where none will come."""
PASSWORD = "hush-hush"  # noqa: S105 - of nobody
WRONG = "whisper"
MECHANISMS = ("PLAIN", "SCRAM-SHA-512")


@dataclass(frozen=True)
class Papers:
    """Certificates as files, and servers that have one."""

    ca: Path
    stranger: Path
    """Of a CA that signed nothing here."""
    client: Path
    key: Path
    """Of the client, behind PASSWORD."""
    here: ssl.SSLContext
    elsewhere: ssl.SSLContext
    """Of a server with another name than this machine's."""
    mutual: ssl.SSLContext
    """Of one that wants to see a certificate itself."""

    @property
    def trusting(self) -> dict[str, str]:
        """Options of a client that knows who signs."""
        return {"security.protocol": "SSL", "ssl.ca.location": str(self.ca)}

    @property
    def shown(self) -> dict[str, str]:
        """Options of a client that shows a certificate, too."""
        return self.trusting | {"ssl.certificate.location": str(self.client), "ssl.key.location": str(self.key)}

    def login(self, mechanism: str = "PLAIN", user: str = "flts") -> dict[str, str]:
        """Options of a client that says a name."""
        return self.trusting | {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": user,
        }


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    ca, stranger, client, key = (folder / f"{name}.pem" for name in ("ca", "stranger", "client", "key"))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca))
    trustme.CA().cert_pem.write_to_path(str(stranger))
    someone = authority.issue_cert("flts@example.org")
    client.write_bytes(b"".join(blob.bytes() for blob in someone.cert_chain_pems))
    opened = serialization.load_pem_private_key(someone.private_key_pem.bytes(), None)
    locked = serialization.BestAvailableEncryption(PASSWORD.encode())
    key.write_bytes(opened.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))

    def server(host: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
        authority.issue_cert(host).configure_cert(context)
        return context

    mutual = server(HOST)
    mutual.verify_mode = ssl.CERT_REQUIRED
    return Papers(ca, stranger, client, key, server(HOST), server("kafka.example.org"), mutual)


@pytest.fixture(scope="module")
def tls_broker(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[str]:
    """URL of a broker that speaks TLS."""
    with guarded(tmp_path_factory.mktemp("tls"), papers.here) as url:
        yield url


@pytest.fixture(scope="module")
def mutual_broker(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[str]:
    """URL of a broker that wants to see a certificate."""
    with guarded(tmp_path_factory.mktemp("mutual"), papers.mutual) as url:
        yield url


@pytest.fixture(scope="module")
def login_broker(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[str]:
    """URL of a broker that wants a name and a password, behind TLS."""
    with guarded(tmp_path_factory.mktemp("login"), papers.here, {"flts": PASSWORD}) as url:
        yield url


def bus_at(url: str, options: dict[str, str], timeout: float = LONG, **secrets: Any) -> KafkaBus:
    return KafkaBus(KafkaOptions(url.removeprefix("kafka://"), 1, 1, timeout=timeout, options=options, **secrets))


def refusal(url: str, options: dict[str, str], **secrets: Any) -> str:
    """What is said, the same whether a client asks, sends or reads."""
    bus = bus_at(url, options, **secrets)
    with pytest.raises(UsageError) as asked:
        bus.describe()
    with pytest.raises(UsageError) as sent:
        bus.publish("topic", "key", b"x")
    reader = bus.subscribe(["topic"], "group")
    with pytest.raises(UsageError) as read:
        reader.poll(LONG)
    reader.close()
    bus.close()
    said = {str(raised.value) for raised in (asked, sent, read)}
    assert len(said) == 1, said
    (only,) = said
    assert PASSWORD not in only
    assert WRONG not in only
    return only


def there_and_back(bus: KafkaBus) -> None:
    """A message is sent, read and committed."""
    bus.ensure(["there"])
    bus.publish("there", "key", b"x", {"name": "value"})
    reader = bus.subscribe(["there"], "back")
    while (record := reader.poll(LONG)) is None:
        pass
    reader.commit(record)
    reader.close()
    bus.close()
    assert (record.key, record.value, record.headers) == ("key", b"x", {"name": "value"})


def test_messages_go_there_and_back_through_tls(tls_broker: str, papers: Papers) -> None:
    there_and_back(bus_at(tls_broker, papers.trusting))


def test_a_ca_that_is_not_set_and_one_that_did_not_sign_are_named(tls_broker: str, papers: Papers) -> None:
    unset = refusal(tls_broker, {"security.protocol": "SSL"})
    assert "certificate verify failed" in unset
    assert "security.protocol is SSL, ssl.ca.location is not set" in unset
    other = refusal(tls_broker, papers.trusting | {"ssl.ca.location": str(papers.stranger)})
    assert "certificate verify failed" in other
    assert f"ssl.ca.location is {papers.stranger}" in other


def test_a_certificate_for_another_host_is_refused(tmp_path: Path, papers: Papers) -> None:
    with guarded(tmp_path, papers.elsewhere) as url:
        assert "must be signed by this CA, and for this host" in refusal(url, papers.trusting)


def test_a_missing_file_and_one_without_a_certificate_are_named(tmp_path: Path, papers: Papers) -> None:
    with raises(UsageError, code="option-file-missing", option="ssl.ca.location", file=str(tmp_path / "absent.pem")):
        bus_at("kafka://127.0.0.1:9", papers.trusting | {"ssl.ca.location": str(tmp_path / "absent.pem")})
    (tmp_path / "empty.pem").touch()
    bus = bus_at("kafka://127.0.0.1:9", papers.trusting | {"ssl.ca.location": str(tmp_path / "empty.pem")})
    with raises(UsageError, code="option-refused") as caught:
        bus.describe()
    assert "certificates as PEM" in str(caught.value)


@pytest.mark.parametrize("kind", ["tls_broker", "mutual_broker", "login_broker"])
def test_plaintext_to_a_broker_that_requires_more_is_explained(kind: str, request: pytest.FixtureRequest) -> None:
    bus = bus_at(request.getfixturevalue(kind), {}, BRIEF)
    wants = (
        "a broker that wants TLS, a certificate or a login does that, too: in kafka_options security.protocol is not"
    )
    with pytest.raises(BackendUnavailable, match=wants):
        bus.describe()
    with pytest.raises(BackendUnavailable, match=wants):
        bus.publish("topic", "key", b"x")
    bus.close()


def test_a_client_certificate_may_have_a_key_with_a_password(mutual_broker: str, papers: Papers) -> None:
    bus = bus_at(mutual_broker, papers.shown, key_password=PASSWORD)
    bus.ensure(["shown"])
    bus.publish("shown", "key", b"x")
    assert [record.value for record in bus.records("shown")] == [b"x"]
    bus.close()
    for wrong in (WRONG, ""):
        with raises(UsageError, code="option-refused") as caught:
            bus_at(mutual_broker, papers.shown, key_password=wrong).describe()
        assert "kafka_key_password must open it" in str(caught.value)
        assert PASSWORD not in str(caught.value)
    with pytest.raises(BackendUnavailable, match=r"ssl\.certificate\.location is not set"):
        bus_at(mutual_broker, papers.trusting, BRIEF).describe()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_login_with_user_and_password_works(mechanism: str, login_broker: str, papers: Papers) -> None:
    bus = bus_at(login_broker, papers.login(mechanism), password=PASSWORD)
    bus.ensure(["let-in"])
    bus.publish("let-in", "key", mechanism.encode())
    assert mechanism.encode() in [record.value for record in bus.records("let-in")]
    bus.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("user", "password"), [("flts", WRONG), ("nobody", PASSWORD)])
def test_a_wrong_name_or_password_is_refused_and_not_shown(
    mechanism: str, user: str, password: str, login_broker: str, papers: Papers
) -> None:
    said = refusal(login_broker, papers.login(mechanism, user), password=password)
    assert "Authentication failed" in said
    assert f"sasl.mechanism is {mechanism}, sasl.username is {user}; look at kafka_options and kafka_password" in said


def test_a_mechanism_that_the_broker_does_not_know_is_named_beside_those_it_knows(
    login_broker: str, papers: Papers
) -> None:
    said = refusal(login_broker, papers.login("SCRAM-SHA-256"), password=PASSWORD)
    assert "broker's supported mechanisms: PLAIN,SCRAM-SHA-512" in said


def environment(url: str, options: dict[str, str], folder: Path, password: str) -> dict[str, str]:
    """As a person sets it."""
    (folder / "password").write_text(f"{password}\n")
    return {
        "FLTS_BUS": url,
        "FLTS_KAFKA_OPTIONS": json.dumps(options),
        "FLTS_KAFKA_PASSWORD_FILE": str(folder / "password"),
        "FLTS_KAFKA_TIMEOUT": str(LONG),
        "FLTS_STORE": (folder / "objects").as_uri(),
        "FLTS_TRACKING": "off",
    }


def doctor(folder: Path, settings: dict[str, str]) -> tuple[int, str, list[Any]]:
    """Exit code, everything that was printed, and what was found of the bus."""
    command = [sys.executable, "-m", "flts", "doctor", "--models", "ridge", "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=os.environ | settings)
    found = [finding for finding in json.loads(done.stdout) if finding["about"] == "bus"]
    return done.returncode, done.stdout + done.stderr, found


def test_doctor_checks_a_bus_behind_tls_and_a_login(tmp_path: Path, login_broker: str, papers: Papers) -> None:
    _, said, found = doctor(tmp_path, environment(login_broker, papers.login(), tmp_path, PASSWORD))
    assert f"{login_broker} answers" in found[0]["found"]
    assert PASSWORD not in said
    code, said, found = doctor(tmp_path, environment(login_broker, papers.login(), tmp_path, WRONG))
    assert (code, [finding["state"] for finding in found]) == (1, ["wrong"])
    assert "Authentication failed" in found[0]["found"]
    assert WRONG not in said
    untrusting = papers.login() | {"ssl.ca.location": str(papers.stranger)}
    code, said, found = doctor(tmp_path, environment(login_broker, untrusting, tmp_path, PASSWORD))
    assert (code, [finding["state"] for finding in found]) == (1, ["wrong"])
    assert f"ssl.ca.location is {papers.stranger}" in found[0]["found"]


def test_a_service_works_behind_tls_and_a_login_and_exits_with_2_where_it_is_refused(
    tmp_path: Path, login_broker: str, papers: Papers
) -> None:
    settings = environment(login_broker, papers.login("SCRAM-SHA-512"), tmp_path, PASSWORD)
    with processes(tmp_path / "logs", settings) as running:
        service = running.worker("forecast")
        assert service.said("service_started"), service.log.read_text()
        assert service.stop() == 0
        (tmp_path / "password").write_text(WRONG)
        refused = running.worker("forecast")
        assert refused.process.wait() == 2
        said = refused.log.read_text()
        assert "Authentication failed" in said
        assert not [secret for secret in (PASSWORD, WRONG) if secret in said + service.log.read_text()]
