"""What an error of Kafka means to who called: try again later, or change what is written somewhere."""

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
SIZE = "a message may have 1 MiB, and a topic must take it (max.message.bytes)"
MEANINGS: Sequence[tuple[Sequence[str], type[FltsError], str, str]] = (
    (REFUSED, UsageError, "login-refused", "look at kafka_options and kafka_password"),
    (FORBIDDEN, UsageError, "not-allowed", "give this user the right"),
    (("FENCED_INSTANCE_ID",), UsageError, "member-taken", "another process uses the same kafka_member"),
    (("INVALID_SESSION_TIMEOUT",), UsageError, "session-timeout-invalid", "look at kafka_session_timeout"),
    (TOO_LARGE, StageFailed, "message-too-large", SIZE),
    (UNKNOWN, BackendUnavailable, "no-topic", "the topic is not there (yet)"),
)
"""Names of Kafka's errors, what each is here, and what a person can do."""
LOST = ("_ALL_BROKERS_DOWN",)
SILENT = ("_MSG_TIMED_OUT", "_TRANSPORT", "_TIMED_OUT")
TLS = ("security.protocol", "ssl.ca.location")
LOGIN = ("security.protocol", "sasl.mechanism", "sasl.username")
AUTH = ("security.protocol", "ssl.certificate.location", "sasl.mechanism")
"""What a person looks at first in kafka_options; none of it is a secret."""
INNER = re.compile(r"error:[0-9A-F]+:[^:]*::|/bootstrap\b| \(after \d+ms in state \w+\)")
"""What libraries add to a reason for those who made them."""


class Trouble:
    """What a client is told beside its calls: that it is refused, or that nobody answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._heard: KafkaError | None = None
        self._last = ""
        self.options: Mapping[str, str] = {}
        """What kafka_options say, once a client is opened with them."""

    def hear(self, error: KafkaError) -> None:
        """For `error_cb`. Of what comes by itself only refusals and the loss of all brokers are raised."""
        refused = self._heard is not None and self._heard.name() in REFUSED
        if error.name() in REFUSED or (error.name() in LOST and not refused):  # who is refused loses all brokers, too
            self._heard = error
        if error.name() not in LOST:
            self._last = error.str()

    def log(self, _level: int, _text: str, kind: str, _client: str, line: str) -> None:
        """For `logger`: that a broker ended a connection is said nowhere else."""
        if kind == "FAIL":
            self._last = line.partition("]: ")[2]  # behind the name of a thread

    def check(self, *, transient: bool = True) -> None:
        """Raise what was heard since the last time. transient: also what a broker that comes back mends."""
        error = self._heard
        if error is not None and (transient or error.name() in REFUSED):
            self._heard = None
            raise self.failed(f"reach {self._url}", error)

    def failed(self, what: str, error: KafkaError) -> FltsError:
        """The error, with what was found, and with what was heard before it when it says only that nothing came."""
        detail = ""
        if error.name() in (*LOST, *SILENT) and self._last:
            detail = f"; last heard: {self._last}"
            if "Disconnected" in self._last:
                detail += f"; a broker that wants TLS, a certificate or a login does that, too: {self._found(AUTH)}"
        elif error.name() == "_SSL":
            must = "its certificate must be signed by this CA, and for this host: "
            detail = f"; {must if 'certificate' in error.str() else ''}{self._found(TLS)}"
        elif error.name() in REFUSED:
            detail = f"; {self._found(LOGIN)}"
        return failed(what, error, detail)

    def _found(self, names: Sequence[str]) -> str:
        """What these options say."""
        given = {"sasl.mechanism": self.options.get("sasl.mechanisms"), **self.options}
        said = ", ".join(f"{name} is {given.get(name) or 'not set'}" for name in names)
        return f"in kafka_options {said}"


@contextmanager
def kafka_errors(what: str, passing: Sequence[str] = (), trouble: Trouble | None = None) -> Iterator[None]:
    """Kafka's exceptions as errors of FLTS; passing: names of errors that are none here."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as raised:
        error = raised.args[0]
        if error.name() in passing:
            return
        if trouble is not None:
            trouble.check(transient=False)  # who is refused is answered with silence
            raise trouble.failed(what, error) from None
        raise failed(what, error) from None


def failed(what: str, error: KafkaError, detail: str = "") -> FltsError:
    """The error that says what could not be done, why, and whether it may be tried again."""
    name, reason = error.name(), f"cannot {what}: {INNER.sub('', error.str() + detail)}"
    for names, kind, code, hint in MEANINGS:
        if name in names:
            return kind(f"{reason}; {hint}", code=code, kafka=name)
    return BackendUnavailable(f"{reason} ({name})", kafka=name)
