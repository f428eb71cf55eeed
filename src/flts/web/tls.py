"""The certificate of a server, for those without a proxy that speaks TLS for them."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from flts.contracts.errors import UsageError
from flts.web.kept import Kept

CERTIFICATE, KEY = "tls_certificate_file", "tls_key_file"


def kept_context(service: str, certificate: Path | None, key: Path | None) -> Kept[ssl.SSLContext] | None:
    """The context of the next handshake, made anew when a file changes; None without files. Raises UsageError."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        there, absent = (CERTIFICATE, KEY) if key is None else (KEY, CERTIFICATE)
        raise UsageError(f"{there} is set without {absent}; set both", code="tls-half-set", setting=absent)
    return Kept(service, [certificate, key], partial(context_of, certificate, key))


def context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """The context that a pair of files makes. Raises UsageError that names the file which does not fit."""
    if "-----BEGIN CERTIFICATE-----" not in _text(CERTIFICATE, certificate):
        raise _refused(CERTIFICATE, certificate, "it holds no certificate in PEM")
    private = _text(KEY, key)
    if "PRIVATE KEY-----" not in private:
        raise _refused(KEY, key, "it holds no private key in PEM")
    if "ENCRYPTED" in private:
        raise _refused(KEY, key, "its key has a password; take one without, which only this user can read")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # OpenSSL asks the terminal for a password unless it is given one
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _refused(KEY, key, f"its key does not belong to the certificate of {certificate}") from None
        raise _refused(
            CERTIFICATE, certificate, f"it and {KEY} {key} cannot be read: {error.reason or error}"
        ) from None
    return context


def _text(setting: str, file: Path) -> str:
    try:
        return file.read_text("ascii", errors="replace")
    except OSError as error:
        raise _refused(setting, file, error.strerror or "it cannot be read") from None


def _refused(setting: str, file: Path, why: str) -> UsageError:
    return UsageError(f"{setting} {file}: {why}", code="tls-unusable", setting=setting, file=str(file))
