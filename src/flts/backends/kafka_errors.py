"""What an error of Kafka means to who called: try again later, or change what is written somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flts.errors import BackendUnavailable, FltsError, StageFailed, UsageError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

REFUSED = ("_AUTHENTICATION", "_SSL", "SASL_AUTHENTICATION_FAILED", "_INVALID_ARG", "UNSUPPORTED_SASL_MECHANISM")
FORBIDDEN = ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED")
UNKNOWN = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION")
TOO_LARGE = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")
FENCED = ("FENCED_INSTANCE_ID",)
SESSION = ("INVALID_SESSION_TIMEOUT",)
LOST = ("_ALL_BROKERS_DOWN",)
SILENT = ("_MSG_TIMED_OUT", "_TRANSPORT", "_TIMED_OUT")


class Trouble:
    """What a client is told beside its calls: that it is refused, or that nobody answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._heard: KafkaError | None = None
        self._last = ""

    def hear(self, error: KafkaError) -> None:
        """For `error_cb`. Of what comes by itself only refusals and the loss of all brokers are raised."""
        if error.name() in (*REFUSED, *LOST):
            self._heard = error
        if error.name() not in LOST:
            self._last = error.str()

    def check(self, *, transient: bool = True) -> None:
        """Raise what was heard since the last time. transient: also what a broker that comes back mends."""
        error = self._heard
        if error is not None and (transient or error.name() in REFUSED):
            self._heard = None
            raise self.failed(f"reach {self._url}", error)

    def failed(self, what: str, error: KafkaError) -> FltsError:
        """The error, with what was heard before it when it says no more than that nothing came."""
        detail = f"; last heard: {self._last}" if self._last and error.name() in (*LOST, *SILENT) else ""
        return failed(f"{what}", error, detail)


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
    name, reason = error.name(), f"cannot {what}: {error.str()}{detail}"
    if name in REFUSED:
        return UsageError(f"{reason}; look at kafka_options and kafka_password")
    if name in FORBIDDEN:
        return UsageError(f"{reason}; give this user the right")
    if name in FENCED:
        return UsageError(f"{reason}; another process uses the same kafka_member")
    if name in SESSION:
        return UsageError(f"{reason}; look at kafka_session_timeout")
    if name in TOO_LARGE:
        return StageFailed(f"{reason}; a message may have 1 MiB, and a topic must take it (max.message.bytes)")
    if name in UNKNOWN:
        return BackendUnavailable(f"{reason}; the topic is not there (yet)")
    return BackendUnavailable(f"{reason} ({name})")
