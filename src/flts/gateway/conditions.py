"""Request headers about an object: byte ranges, conditions and digests."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from http import HTTPStatus

from flts.web.problem import Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)
_TAG = re.compile(r'(W/)?("[^"]*")')
_DIGEST = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*=*):\s*")
_WANTED = re.compile(r"\s*sha-256\s*=\s*([0-9]{1,2})\s*")
_MOST_DIGITS = 18


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last (RFC 9110, 14), or None for the whole object.

    Anything but a single range of bytes is answered with the whole object, as the RFC allows and S3 does. Raises
    Problem 416 for a range that begins after the end.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or any(len(digits) > _MOST_DIGITS for digits in match.groups()):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the range '{(header or '')[:60]}' is outside the object, which has {size} bytes",
            {"Content-Range": f"bytes */{size}"},
        )
    return start, end


def check_conditions(headers: Mapping[str, str], etag: str | None, *, reading: bool) -> bool:
    """Whether a reader has this version of the object already (answer 304). etag: None when there is no object.

    Raises Problem 412 when If-Match or If-None-Match rules the request out (RFC 9110, 13).
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and not _names(match, etag, strong=True):
        current = "the object does not exist" if etag is None else f"the object is {etag} now"
        raise Problem(HTTPStatus.PRECONDITION_FAILED, f"If-Match does not match: {current}", code="object-differs")
    if none_match is None or not _names(none_match, etag, strong=False):
        return False
    if reading:
        return True
    raise Problem(
        HTTPStatus.PRECONDITION_FAILED,
        f"If-None-Match does not allow this: the object exists, as {etag}",
        code="object-exists",
    )


def range_applies(if_range: str | None, etag: str) -> bool:
    """Whether the object is still the version a reader has a part of. A date never counts: it is too coarse."""
    return if_range is None or if_range.strip() == etag


def _names(header: str, etag: str | None, *, strong: bool) -> bool:
    if etag is None:
        return False
    if header.strip() == "*":
        return True
    return any(tag == etag and not (strong and weak) for weak, tag in _TAG.findall(header))


def sent_digests(headers: Mapping[str, str]) -> set[str]:
    """Every SHA-256 that a client announces for its body, in hexadecimal. Raises Problem 400 for an invalid one.

    `Content-Digest: sha-256=:base64:` (RFC 9530) or `X-Content-SHA256: hex`.
    """
    digests = set()
    content_digest = headers.get("content-digest")
    if content_digest is not None:
        parts = [_DIGEST.fullmatch(part) for part in content_digest.split(",")]
        by_algorithm = {part[1]: part[2] for part in parts if part is not None}
        if None in parts or "sha-256" not in by_algorithm:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "unsupported Content-Digest; write sha-256=:the digest in base64:",
                code="digest-unsupported",
            )
        try:
            digests.add(base64.b64decode(by_algorithm["sha-256"], validate=True).hex())
        except binascii.Error:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "invalid Content-Digest: its sha-256 is not base64", code="digest-invalid"
            ) from None
    hexadecimal = headers.get("x-content-sha256")
    if hexadecimal is not None:
        digests.add(hexadecimal.strip().lower())
    if any(not re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "invalid SHA-256; write 64 hexadecimal digits in X-Content-SHA256, or 32 bytes in Content-Digest",
            code="digest-invalid",
        )
    return digests


def wants_digest(headers: Mapping[str, str]) -> bool:
    """Whether a reader asks for the SHA-256 of the whole object (`Want-Repr-Digest: sha-256=1`, RFC 9530)."""
    wanted = [_WANTED.fullmatch(part) for part in headers.get("want-repr-digest", "").split(",")]
    return any(part is not None and int(part[1]) > 0 for part in wanted)


def repr_digest(sha256: bytes) -> str:
    """The value of `Repr-Digest` for a digest."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"
