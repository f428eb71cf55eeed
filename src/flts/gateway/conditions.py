"""What the headers of a request ask of an object: which bytes, under which condition, with which digest."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from http import HTTPStatus

from flts.gateway.problem import Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)
_TAG = re.compile(r'(W/)?("[^"]*")')
_DIGEST = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*=*):\s*")
_WANTED = re.compile(r"\s*sha-256\s*=\s*([0-9]{1,2})\s*")
_MOST_DIGITS = 18


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last (RFC 9110, 14), or None for the whole object.

    What is no single range of bytes is answered with the whole object, as the RFC allows and S3 does. Raises Problem
    416 for a range that begins after the end.
    """
    asked = _RANGE.fullmatch((header or "").replace(" ", ""))
    if asked is None or any(len(digits) > _MOST_DIGITS for digits in asked.groups()):
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the object has {size} bytes, and none of them is in '{(header or '')[:60]}'",
            {"Content-Range": f"bytes */{size}"},
        )
    return start, end


def check_conditions(headers: Mapping[str, str], etag: str | None, *, reading: bool) -> bool:
    """Whether a reader has the object already (answer 304). etag: None for an object that is absent.

    Raises Problem 412 when the object is not, or is, what the request names (RFC 9110, 13).
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and not _names(match, etag, strong=True):
        found = "there is none" if etag is None else f"it is {etag} now"
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED, f"the object is not what If-Match names; {found}", code="object-differs"
        )
    if none_match is None or not _names(none_match, etag, strong=False):
        return False
    if reading:
        return True
    raise Problem(
        HTTPStatus.PRECONDITION_FAILED,
        f"the object exists, as {etag}, and If-None-Match wants it not to",
        code="object-exists",
    )


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether the object is still the one that a reader has the beginning of; a date is never sure enough."""
    return if_range is None or if_range.strip() == etag


def _names(header: str, etag: str | None, *, strong: bool) -> bool:
    if etag is None:
        return False
    if header.strip() == "*":
        return True
    return any(tag == etag and not (strong and weak) for weak, tag in _TAG.findall(header))


def sent_digests(headers: Mapping[str, str]) -> set[str]:
    """Every SHA-256 that a client says its body has, in hexadecimal. Raises Problem 400 for one that cannot be checked.

    `Content-Digest: sha-256=:base64:` (RFC 9530) or `X-Content-SHA256: hex`.
    """
    found = set()
    given = headers.get("content-digest")
    if given is not None:
        parts = [_DIGEST.fullmatch(part) for part in given.split(",")]
        known = {part[1]: part[2] for part in parts if part is not None}
        if None in parts or "sha-256" not in known:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "Content-Digest cannot be checked here; write sha-256=:the digest in base64:",
                code="digest-unsupported",
            )
        try:
            found.add(base64.b64decode(known["sha-256"], validate=True).hex())
        except binascii.Error:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "the sha-256 of Content-Digest is not base64", code="digest-invalid"
            ) from None
    hexadecimal = headers.get("x-content-sha256")
    if hexadecimal is not None:
        found.add(hexadecimal.strip().lower())
    if any(not re.fullmatch("[0-9a-f]{64}", digest) for digest in found):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "a SHA-256 has 32 bytes: 64 hexadecimal digits in X-Content-SHA256",
            code="digest-invalid",
        )
    return found


def wants_digest(headers: Mapping[str, str]) -> bool:
    """Whether a reader asks for the SHA-256 of the whole object (`Want-Repr-Digest: sha-256=1`, RFC 9530)."""
    asked = [_WANTED.fullmatch(part) for part in headers.get("want-repr-digest", "").split(",")]
    return any(part is not None and int(part[1]) > 0 for part in asked)


def repr_digest(sha256: bytes) -> str:
    """The digest as `Repr-Digest` shows it."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"
