"""Kafka's errors as errors of FLTS: what to try again later, and what a person has to change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flts.contracts.errors import BackendUnavailable, FltsError, StageFailed, UsageError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

REFUSED = ("_AUTHENTICATION", "_SSL", "SASL_AUTHENTICATION_FAILED", "_INVALID_ARG", "UNSUPPORTED_SASL_MECHANISM")
FORBIDDEN = ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED")
UNKNOWN = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION")
TOO_LARGE = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")
SIZE = "the limit is 1 MiB, and max.message.bytes of the topic must allow it"
MEANINGS: Sequence[tuple[Sequence[str], type[FltsError], str, str]] = (
    (REFUSED, UsageError, "login-refused", "look at kafka_options and kafka_password"),
    (FORBIDDEN, UsageError, "not-allowed", "grant this user the permission"),
    (("FENCED_INSTANCE_ID",), UsageError, "member-taken", "another process uses the same kafka_member"),
    (("INVALID_SESSION_TIMEOUT",), UsageError, "session-timeout-invalid", "look at kafka_session_timeout"),
    (TOO_LARGE, StageFailed, "message-too-large", SIZE),
    (UNKNOWN, BackendUnavailable, "no-topic", "the topic does not exist (yet)"),
)
"""Names of Kafka's errors; the class and code of each in FLTS; and what a person can do."""
LOST = ("_ALL_BROKERS_DOWN",)
SILENT = ("_MSG_TIMED_OUT", "_TRANSPORT", "_TIMED_OUT")
TLS = ("security.protocol", "ssl.ca.location")
LOGIN = ("security.protocol", "sasl.mechanism", "sasl.username")
AUTH = ("security.protocol", "ssl.certificate.location", "sasl.mechanism")
"""The options a person should check first, by kind of error; none of them is a secret."""
INNER = re.compile(
    r"error:[0-9A-F]+:[^:]*::|/bootstrap\b| \(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)"
)
"""Details that libraries add to a reason for their own developers."""


class Trouble:
    """Collects the errors that a client reports outside its calls: a refused login, or brokers that do not answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pending: KafkaError | None = None
        self._last = ""
        self.options: Mapping[str, str] = {}
        """kafka_options, set when a client is opened."""

    def hear(self, error: KafkaError) -> None:
        """The `error_cb` of a client. Only refusals and the loss of all brokers are raised later."""
        refused = self._pending is not None and self._pending.name() in REFUSED
        if error.name() in REFUSED or (error.name() in LOST and not refused):  # a refused client loses all brokers, too
            self._pending = error
        if error.name() not in LOST:
            self._last = error.str()

    def log(self, _level: int, _text: str, kind: str, _client: str, line: str) -> None:
        """The `logger` of a client: a connection that a broker closed is reported nowhere else."""
        if kind == "FAIL":
            self._last = line.partition("]: ")[2]  # after the name of the thread

    def check(self, *, transient: bool = True) -> None:
        """Raise the error reported since the last check. transient: also one that ends when a broker comes back."""
        error = self._pending
        if error is not None and (transient or error.name() in REFUSED):
            self._pending = None
            raise self.failed(f"reach {self._url}", error)

    def failed(self, what: str, error: KafkaError) -> FltsError:
        """The error with the options to check; one that only says "no answer" also with the error before it."""
        detail = ""
        if error.name() in (*LOST, *SILENT) and self._last:
            detail = f"; last heard: {self._last}"
            if "Disconnected" in self._last:
                detail += f"; a broker that wants TLS, a certificate or a login does that, too: {self._values(AUTH)}"
        elif error.name() == "_SSL":
            must = "the certificate of the broker must be signed by this CA, and for this host: "
            detail = f"; {must if 'certificate' in error.str() else ''}{self._values(TLS)}"
        elif error.name() in REFUSED:
            detail = f"; {self._values(LOGIN)}"
        return failed(what, error, detail)

    def _values(self, names: Sequence[str]) -> str:
        """The values of these options, for a message."""
        options = {"sasl.mechanism": self.options.get("sasl.mechanisms"), **self.options}
        values = ", ".join(f"{name} is {options.get(name) or 'not set'}" for name in names)
        return f"in kafka_options {values}"


@contextmanager
def kafka_errors(what: str, passing: Sequence[str] = (), trouble: Trouble | None = None) -> Iterator[None]:
    """Raise Kafka's exceptions as errors of FLTS. passing: names of Kafka's errors to ignore."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as raised:
        error = raised.args[0]
        if error.name() in passing:
            return
        if trouble is not None:
            trouble.check(transient=False)  # a broker answers a refused client with silence
            raise trouble.failed(what, error) from None
        raise failed(what, error) from None


def failed(what: str, error: KafkaError, detail: str = "") -> FltsError:
    """The error for what could not be done; its class says whether a later attempt may succeed."""
    name, reason = error.name(), f"cannot {what}: {INNER.sub('', error.str() + detail)}"
    for names, kind, code, hint in MEANINGS:
        if name in names:
            return kind(f"{reason}; {hint}", code=code, kafka=name)
    return BackendUnavailable(f"{reason} ({name})", kafka=name)
