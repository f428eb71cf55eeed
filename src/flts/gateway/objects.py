"""The routes of the gateway: list, get, head, put and delete; only raw inputs can be written."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Receive, Scope, Send

from flts.contracts.errors import BackendUnavailable
from flts.contracts.failpoints import failpoint
from flts.contracts.layout import BUCKETS, KEY_LENGTH, KEY_PART, checked_key
from flts.contracts.ports import Stored, StreamedStore
from flts.gateway.conditions import byte_range, check_conditions, range_applies, repr_digest, wants_digest
from flts.gateway.room import DOWNLOAD, UPLOAD, Room
from flts.gateway.upload import Body, announced_bytes, check_upload
from flts.web import problem
from flts.web.observed import HttpMetrics
from flts.web.problem import Problem
from flts.web.security import AUTH, REFUSALS

WRITABLE = "dataset"
"""The one bucket that accepts uploads; the stages write all others."""
PAGE = 1000
"""Most objects in one page of a list."""
ATTEMPTS = 3
"""How often a read starts again when the object is replaced before its first byte."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
OBJECT_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"schema": {"type": "string"}},
    "Last-Modified": {"schema": {"type": "string"}},
    "Accept-Ranges": {"schema": {"type": "string", "const": "bytes"}},
    "Repr-Digest": {"schema": {"type": "string"}, "description": "SHA-256 of the whole object, on request"},
}


class Anything(Convertor[str]):
    """Matches every key, also one with line breaks, so that an invalid key gets a message instead of a 404."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", Anything())

KeyPrefix = Annotated[str, StringConstraints(pattern=f"^({KEY_PART}/)*({KEY_PART})?$", max_length=KEY_LENGTH)]


class Page(BaseModel):
    """Which objects of a bucket to list. An unknown parameter is an error: ignored, it would list everything."""

    model_config = ConfigDict(extra="forbid")

    prefix: KeyPrefix = Field(default="", description="Only keys that start like this.")
    after: KeyPrefix = Field(default="", description="Only keys that come after this one.")
    limit: int = Field(default=PAGE, ge=1, le=PAGE, description="Most objects in the answer.")


class StoredObject(BaseModel):
    """One object of a list."""

    key: str = Field(description="Its name in the bucket.")
    size: int = Field(ge=0, description="Bytes.")
    etag: str
    modified: str = Field(description="RFC 3339, UTC.")


class Listing(BaseModel):
    """A page of the objects of a bucket, sorted by key or folder by folder, as the store keeps them."""

    bucket: str
    prefix: str
    objects: list[StoredObject] = Field(max_length=PAGE)
    next: str | None = Field(description="`after` of the next page; null on the last one.")


class Uploaded(BaseModel):
    """The result of an upload."""

    bucket: str
    key: str
    size: int = Field(ge=0, description="Bytes.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the bytes as they arrived.")
    etag: str


@dataclass(frozen=True)
class Gateway:
    """What every request needs."""

    store: StreamedStore
    max_object_bytes: int
    idle_seconds: float
    metrics: HttpMetrics
    room: Room


class Download(StreamingResponse):
    """The bytes of an object. held: what is given back when the last byte was taken, or the reader has left."""

    def __init__(
        self, chunks: AsyncIterator[bytes], status: HTTPStatus, headers: Mapping[str, str], held: AsyncExitStack
    ) -> None:
        super().__init__(chunks, status, headers, media_type="application/octet-stream")
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


@dataclass(frozen=True)
class Name:
    """The valid name of an object."""

    bucket: str
    key: str

    @property
    def whole(self) -> str:
        """Its key in the store."""
        return f"{self.bucket}/{self.key}"


def the_gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _named(
    request: Request,
    bucket: Annotated[str, Path(json_schema_extra={"enum": list(BUCKETS)})],
    key: Annotated[
        str,
        Path(json_schema_extra={"pattern": f"^{KEY_PART}(/{KEY_PART})*$", "minLength": 1, "maxLength": KEY_LENGTH}),
    ],
) -> Name:
    try:
        request.state.object_key = checked_key(bucket, key)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, str(error), code="name-invalid") from None
    if request.url.query:
        # otherwise one part of an S3 multipart upload could become the whole object
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "query parameters are not allowed in the URL of an object",
            code="query-not-allowed",
        )
    return Name(bucket, key)


def _writable(name: Annotated[Name, Depends(_named)]) -> Name:
    if name.bucket != WRITABLE:
        raise Problem(
            HTTPStatus.FORBIDDEN, f"{name.bucket} is read-only here; only {WRITABLE} can be written", code="read-only"
        )
    return name


Served = Annotated[Gateway, Depends(the_gateway)]
Named = Annotated[Name, Depends(_named)]
Writable = Annotated[Name, Depends(_writable)]

OBJECTS = APIRouter(
    tags=["objects"],
    dependencies=[AUTH],
    responses={
        **REFUSALS,
        **problem.responses(HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE),
    },
)


@OBJECTS.get("/objects/{bucket}")
async def list_objects(
    gateway: Served,
    bucket: Annotated[str, Path(json_schema_extra={"enum": list(BUCKETS)})],
    page: Annotated[Page, Query()],
) -> Listing:
    """The objects of a bucket, page by page."""
    if bucket not in BUCKETS:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"unknown bucket '{bucket[:100]}'; valid: {', '.join(BUCKETS)}", code="no-bucket"
        )
    stored = await gateway.store.page(f"{bucket}/{page.prefix}", f"{bucket}/{page.after}", page.limit + 1)
    objects = [
        StoredObject(
            key=one.key.removeprefix(f"{bucket}/"),
            size=one.size,
            etag=one.etag,
            modified=one.modified.isoformat(),
        )
        for one in stored[: page.limit]
    ]
    more = len(stored) > page.limit
    return Listing(bucket=bucket, prefix=page.prefix, objects=objects, next=objects[-1].key if more else None)


@OBJECTS.get(
    "/objects/{bucket}/{key:anything}",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": BINARY}, "headers": OBJECT_HEADERS},
        206: {
            "description": "The bytes that `Range` asks for.",
            "content": {"application/octet-stream": BINARY},
            "headers": OBJECT_HEADERS,
        },
        304: {"description": "The reader has this version already, by If-None-Match."},
        **problem.responses(
            HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        ),
    },
)
async def get_object(request: Request, gateway: Served, name: Named) -> Response:
    """An object, or one range of its bytes; always of one version."""
    for _ in range(ATTEMPTS):
        stored = await _existing(gateway, name)
        if check_conditions(request.headers, stored.etag, reading=True):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=_headers(stored))
        applies = range_applies(request.headers.get("if-range"), stored.etag)
        part = byte_range(request.headers.get("range") if applies else None, stored.size)
        start, end = part or (0, stored.size)
        async with AsyncExitStack() as held:
            holds = DOWNLOAD if wants_digest(request.headers) else min(DOWNLOAD, end - start)
            await held.enter_async_context(gateway.room.held(holds))
            headers = await _with_digest(gateway, stored, request.headers)
            chunks = None if headers is None else await gateway.store.stream(stored, start, end)
            if headers is None or chunks is None:
                continue
            headers["Content-Length"] = str(end - start)
            if part is not None:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
            status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
            return Download(chunks, status, headers, held=held.pop_all())
    raise BackendUnavailable(
        f"{name.whole} was replaced during each of {ATTEMPTS} attempts to read it",
        code="replaced-while-read",
        key=name.whole,
    )


@OBJECTS.head(
    "/objects/{bucket}/{key:anything}",
    response_class=Response,
    responses={
        200: {"headers": OBJECT_HEADERS},
        304: {"description": "The reader has this version already, by If-None-Match."},
        **problem.responses(HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED),
    },
)
async def head_object(request: Request, gateway: Served, name: Named) -> Response:
    """The headers of an object."""
    for _ in range(ATTEMPTS):
        stored = await _existing(gateway, name)
        if check_conditions(request.headers, stored.etag, reading=True):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=_headers(stored))
        async with gateway.room.held(DOWNLOAD if wants_digest(request.headers) else 0):
            headers = await _with_digest(gateway, stored, request.headers)
        if headers is not None:
            headers["Content-Length"] = str(stored.size)
            return Response(headers=headers, media_type="application/octet-stream")
    raise BackendUnavailable(
        f"{name.whole} was replaced during each of {ATTEMPTS} attempts to read it",
        code="replaced-while-read",
        key=name.whole,
    )


@OBJECTS.put(
    "/objects/{bucket}/{key:anything}",
    openapi_extra={"requestBody": {"content": {"application/octet-stream": BINARY}}},
    responses={
        200: {"description": "The object was replaced.", "model": Uploaded},
        201: {"description": "The object was created.", "model": Uploaded},
        **problem.responses(
            HTTPStatus.FORBIDDEN,
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.CONFLICT,
            HTTPStatus.PRECONDITION_FAILED,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        ),
    },
)
async def put_object(request: Request, response: Response, gateway: Served, name: Writable) -> Uploaded:
    """Write an object of `dataset`. An existing one is replaced, unless a condition forbids it."""
    digests = check_upload(request.headers, gateway.max_object_bytes)
    before = await gateway.store.look(name.whole)
    check_conditions(request.headers, before.etag if before else None, reading=False)

    async def check_again() -> None:
        now = await gateway.store.look(name.whole)
        check_conditions(request.headers, now.etag if now else None, reading=False)

    body = Body(request.stream(), gateway.max_object_bytes, gateway.idle_seconds, digests)
    # with If-Match, the object may have been replaced during the upload
    chunks = body.chunks(check_again if "if-match" in request.headers else None)
    only_new = request.headers.get("if-none-match", "").strip() == "*"
    failpoint("gateway.upload.before")
    async with gateway.room.held(min(UPLOAD, announced_bytes(request.headers, UPLOAD))):
        etag = await gateway.store.upload(name.whole, chunks, only_new=only_new)
    failpoint("gateway.upload.after")
    if etag is None:
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            "If-None-Match does not allow this: another client created the object during the upload",
            code="object-exists",
        )
    response.status_code = HTTPStatus.CREATED if before is None else HTTPStatus.OK
    response.headers["ETag"] = etag
    response.headers["X-Content-SHA256"] = body.sha256.hexdigest()
    return Uploaded(bucket=name.bucket, key=name.key, size=body.size, sha256=body.sha256.hexdigest(), etag=etag)


@OBJECTS.delete(
    "/objects/{bucket}/{key:anything}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=problem.responses(HTTPStatus.FORBIDDEN, HTTPStatus.PRECONDITION_FAILED),
)
async def delete_object(request: Request, gateway: Served, name: Writable) -> None:
    """Remove an object of `dataset`. Succeeds also when there is none, as in S3."""
    stored = await gateway.store.look(name.whole)
    check_conditions(request.headers, stored.etag if stored else None, reading=False)
    failpoint("gateway.delete.before")
    await gateway.store.delete(name.whole)
    failpoint("gateway.delete.after")


async def _existing(gateway: Gateway, name: Name) -> Stored:
    stored = await gateway.store.look(name.whole)
    if stored is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"object not found: {name.key} in {name.bucket}", code="no-object")
    return stored


def _headers(stored: Stored) -> dict[str, str]:
    return {
        "ETag": stored.etag,
        "Last-Modified": format_datetime(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
    }


async def _with_digest(gateway: Gateway, stored: Stored, requested: Mapping[str, str]) -> dict[str, str] | None:
    """The headers of an object; None when it was replaced while its digest was computed."""
    headers = _headers(stored)
    if not wants_digest(requested):
        return headers
    chunks = await gateway.store.stream(stored, 0, stored.size)
    if chunks is None:
        return None
    sha256 = hashlib.sha256()
    async for chunk in chunks:
        sha256.update(chunk)
    return {**headers, "Repr-Digest": repr_digest(sha256.digest())}
