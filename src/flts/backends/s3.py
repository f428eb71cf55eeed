"""S3 of any vendor: endpoint, credentials, retries, and what its errors mean."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, unquote, urlsplit
from urllib.request import Request, urlopen

from flts.contracts.errors import BackendUnavailable, FltsError, UsageError, nearest

if TYPE_CHECKING:
    from obstore.store import S3Store

RETRIES = 6
RETRY_WITHIN = timedelta(seconds=30)
"""No attempt starts later than this after the first."""
ANSWER_WITHIN = timedelta(seconds=60)
CONNECT_WITHIN = timedelta(seconds=5)
NO_BUCKET = "NoSuchBucket"
CONFIG = "Generic Config error: "
"""The prefix of obstore's messages about its options."""
COPY_IF_NOT_EXISTS = "header:if-none-match:*"
"""The header that keeps a copy from replacing an object, unless the environment names another for this endpoint."""
KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


@dataclass(frozen=True)
class Location:
    """What an S3 URL names. Without a bucket, the first part of each key names one, and `prefix` is put before it."""

    bucket: str
    prefix: str
    endpoint: str


def parse(url: str) -> Location:
    """The parts of s3://bucket/prefix?endpoint=http://host:port or s3:///prefix-. Raises UsageError."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    for name in options:
        if name != "endpoint":
            raise UsageError(
                f"unknown option '{name}' in '{url}'; {nearest(name, ['endpoint'])}",
                code="url-option-unknown",
                url=url,
                option=name,
            )
    if "@" in parts.netloc or "@" in options.get("endpoint", ""):
        raise UsageError(
            f"'{url}' names a user or a password; take them out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            code="url-with-credentials",
            url=url,
        )
    endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return Location(parts.netloc, unquote(parts.path).strip("/"), endpoint or "")


def connect(location: Location, bucket: str, prefix: str = "") -> S3Store:
    """A client of one bucket; it connects on first use. Raises UsageError."""
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    options: dict[str, Any] = dict(credentials(os.environ))
    options |= {name: value for name, value in (("prefix", prefix), ("endpoint", location.endpoint)) if value}
    if not os.environ.get("AWS_COPY_IF_NOT_EXISTS"):
        options["copy_if_not_exists"] = COPY_IF_NOT_EXISTS
    try:
        return S3Store(
            bucket,
            **options,
            client_options={
                "allow_http": location.endpoint.startswith("http://"),
                "timeout": ANSWER_WITHIN,
                "connect_timeout": CONNECT_WITHIN,
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_WITHIN},
        )
    except BaseError as error:
        reason = str(error).splitlines()[0].removeprefix(CONFIG)
        raise UsageError(
            f"invalid settings for S3: {reason}; look at the environment variables AWS_*",
            code="s3-settings",
            reason=reason,
        ) from None


def make_bucket(location: Location, name: str) -> bool:
    """Create a bucket unless it exists; says whether it did. Raises UsageError, BackendUnavailable."""
    import obstore

    store = connect(location, name)
    try:
        obstore.get(store, "absent").bytes()
    except (FileNotFoundError, obstore.exceptions.NotFoundError) as error:
        if NO_BUCKET not in str(error):
            return False
    except obstore.exceptions.BaseError as error:
        raise failed(f"look for the bucket {name}", error) from None
    else:
        return False
    # obstore cannot create buckets, but it can sign the PUT that does
    url = obstore.sign(store, "PUT", "", timedelta(hours=1))
    try:
        with urlopen(Request(url, method="PUT"), timeout=ANSWER_WITHIN.seconds):  # noqa: S310 - an address signed here
            return True
    except HTTPError as error:
        with error:
            if error.code == HTTPStatus.CONFLICT:  # another process was quicker
                return False
            reason = f"make the bucket {name}: {error.code} {error.reason}"
        if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UsageError(f"{reason}; make it yourself, or allow its owner to", code="bucket-refused") from None
        raise BackendUnavailable(reason) from None
    except OSError as error:
        raise BackendUnavailable(f"make the bucket {name}: {error}") from None


def credentials(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Keys from the shared credentials file of AWS; empty when the environment has the keys.

    Without either, the client asks the machine it runs on for the keys of its role. Raises UsageError.
    """
    # By hand: obstore does not read this file. Its provider through boto3 would add 36 MB of libraries and 0.13 s of
    # import for one section of an INI file. `aws configure export-credentials` gives the keys of SSO as variables.
    if environment.get("AWS_ACCESS_KEY_ID"):
        return {}
    configured = environment.get("AWS_SHARED_CREDENTIALS_FILE")
    file = Path(configured) if configured else Path.home() / ".aws" / "credentials"
    if not file.is_file():
        if configured:
            raise UsageError(
                f"AWS_SHARED_CREDENTIALS_FILE: file not found: {configured}",
                code="credentials-missing",
                file=configured,
            )
        return {}
    sections = configparser.ConfigParser(interpolation=None)
    try:
        sections.read_string(file.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # the message of the parser quotes the line, and so a secret
        raise UsageError(
            f"{file}: not a readable credentials file ({type(error).__name__})",
            code="credentials-unreadable",
            file=str(file),
        ) from None
    profile = environment.get("AWS_PROFILE", "default")
    if not sections.has_section(profile):
        raise UsageError(
            f"{file}: unknown profile '{profile}'; {nearest(profile, sections.sections())}",
            code="profile-missing",
            file=str(file),
            profile=profile,
        )
    return {key.removeprefix("aws_"): value for key in KEYS if (value := sections[profile].get(key))}


def failed(what: str, error: Exception) -> FltsError:
    """The error for what could not be done; its class says whether a later attempt may succeed."""
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    first = (text.splitlines() or [type(error).__name__])[0].partition(" <?xml")[0]
    reason = f"{what}: {first.removesuffix(':')}{f' ({code[1]})' if code else ''}"
    if code and code[1] == NO_BUCKET:
        return UsageError(f"{reason}; make the bucket first", code="no-bucket")
    if code and code[1] in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
        return UsageError(f"{reason}; set AWS_REGION to the region of the bucket", code="wrong-region")
    if code and code[1] in {"RequestTimeTooSkewed", "RequestExpired"}:
        return UsageError(f"{reason}; set the clock of this machine, or that of the store", code="clock-differs")
    if re.search(r"/latest/(api/token|meta-data)", first):
        return UsageError(
            f"{what}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with"
            " AWS_SHARED_CREDENTIALS_FILE",
            code="no-credentials",
        )
    if re.search(r"status code: (401|403)\b", first):
        return UsageError(
            f"{reason}; look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the file that"
            " AWS_SHARED_CREDENTIALS_FILE names), and at the permissions of their owner",
            code="access-denied",
        )
    return BackendUnavailable(reason)
