"""What the errors of an S3 mean for a person."""

from __future__ import annotations

import pytest

from flts.backends.s3 import failed
from flts.contracts.errors import BackendUnavailable, FltsError, UsageError

ANSWER = "Generic S3 error: Error performing PUT http://s3/b/k in 1ms - Server returned non-2xx status code: {}: {}"
BODY = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>no</Message></Error>'


@pytest.mark.parametrize(
    ("status", "said", "kind", "code"),
    [
        ("403 Forbidden", "RequestTimeTooSkewed", UsageError, "clock-differs"),
        ("400 Bad Request", "RequestExpired", UsageError, "clock-differs"),
        ("403 Forbidden", "SignatureDoesNotMatch", UsageError, "access-denied"),
        ("503 Service Unavailable", "SlowDown", BackendUnavailable, "backend-unavailable"),
    ],
)
def test_an_answer_says_whether_clock_keys_or_server_are_at_fault(
    status: str, said: str, kind: type[FltsError], code: str
) -> None:
    error = failed("cannot write b/k", RuntimeError(ANSWER.format(status, BODY.format(said))))
    assert (type(error), error.code) == (kind, code)
    assert said in str(error)
