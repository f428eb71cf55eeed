"""A pair of files makes a server speak TLS, or is refused with a sentence that names the file."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs
from tests.support.raising import raises

from flts.contracts.errors import UsageError
from flts.web.tls import context_of, kept_context

ENCRYPTED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def pair(authority: trustme.CA, folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """The files of a new certificate and its key."""
    issued = authority.issue_cert(host)
    certificate, key = folder / f"{host}.pem", folder / f"{host}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


def test_without_files_there_is_no_tls_and_half_a_pair_is_refused(tmp_path: Path) -> None:
    assert kept_context("serve", None, None) is None
    with raises(UsageError, code="tls-half-set", setting="tls_key_file"):
        kept_context("serve", tmp_path / "a", None)
    with raises(UsageError, code="tls-half-set", setting="tls_certificate_file"):
        kept_context("serve", None, tmp_path / "a")


def test_a_pair_that_belongs_together_speaks_no_old_version(authority: trustme.CA, tmp_path: Path) -> None:
    context = context_of(*pair(authority, tmp_path))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certificate", "key", "setting"),
    [
        ("absent", "ours", "tls_certificate_file"),
        ("ours", "absent", "tls_key_file"),
        ("ours", "other", "tls_key_file"),
        ("key", "ours", "tls_certificate_file"),
        ("ours", "certificate", "tls_key_file"),
        ("ours", "encrypted", "tls_key_file"),
        ("ours", "half", "tls_certificate_file"),
        ("binary", "ours", "tls_certificate_file"),
        ("folder", "ours", "tls_certificate_file"),
    ],
)
def test_the_file_that_does_not_fit_is_named(
    authority: trustme.CA, tmp_path: Path, certificate: str, key: str, setting: str
) -> None:
    ours, our_key = pair(authority, tmp_path)
    (tmp_path / "encrypted").write_text(ENCRYPTED)
    (tmp_path / "half").write_text(our_key.read_text()[:60])
    (tmp_path / "binary").write_bytes(b"\xff\x00" * 100)
    (tmp_path / "folder").mkdir()
    certificates = {"ours": ours, "key": our_key}
    keys = {"ours": our_key, "certificate": ours, "other": pair(authority, tmp_path, "other")[1]}
    files = certificates.get(certificate, tmp_path / certificate), keys.get(key, tmp_path / key)
    named = files[0] if setting == "tls_certificate_file" else files[1]
    with raises(UsageError, code="tls-unusable", setting=setting, file=str(named)) as raised:
        context_of(*files)
    assert "\n" not in str(raised.value)


def test_a_renewed_certificate_is_taken_and_a_wrong_one_is_not(authority: trustme.CA, tmp_path: Path) -> None:
    files = pair(authority, tmp_path)
    context = kept_context("serve", *files)
    assert context is not None
    context._seconds = context._next = 0.0
    first = context()
    with capture_logs() as logged:
        files[0].write_text("no certificate")
        assert context() is first
        pair(authority, tmp_path)
        assert context() is not first
    assert [line["event"] for line in logged] == ["file_refused", "file_reread"]
