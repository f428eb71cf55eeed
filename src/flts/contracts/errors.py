"""Every error FLTS raises on purpose, and whether trying again makes sense.

    FltsError
    ├── Terminal                     trying again gives the same answer
    │   ├── UsageError          2    an invalid command, key or value
    │   │   ├── SpecError       2    flts.toml (or a flag, or the environment) does not describe an experiment
    │   │   ├── MissingExtra    2    an optional library is not installed
    │   │   ├── MissingPackage  2    a package outside FLTS is not installed
    │   │   └── Locked          2    another process is writing to the same .flts
    │   ├── DataError           4    the rows cannot be used: the file, column or row is named
    │   ├── NotApplicable       1    a model does not apply to this task (too little history); not a failure
    │   ├── TrainingFailed      1    a model raised, crashed or returned numbers that are not finite
    │   │   └── DeadlineExceeded 1   … or ran past the time limit
    │   ├── DamagedObject       1    a stored object is absent, or differs from its digest or format
    │   ├── NameTaken           1    an object cannot have the name of a folder, nor lie below another object
    │   ├── StageFailed         1    a stage ended without its result
    │   │   └── MachineFailed   1    … because this machine lacks space, rights, descriptors or memory
    │   └── RequestRefused      1    a ClientError: the forecast service refuses a request
    ├── Transient
    │   ├── BackendUnavailable  3    a server did not answer; a later attempt may succeed
    │   ├── NoChampion          3    a service waits: nothing was promoted in this scope yet
    │   └── ServiceUnavailable  3    a ClientError: the forecast service is busy, not ready, too late or away
    ├── ClientError             1    what flts.Client raises: one of the two above
    └── Interrupted           130    a person or a supervisor asked to stop; nothing is recorded as failed

The number is the exit code of the command line. A message says what happened, where, and what would fit.

How to raise one: the sentence is for people and may be reworded; programs and tests read the code and the data.

    raise DataError(f"{name}: column '{column}' is missing", code="column-missing", file=name, column=column)

Give a code of two or three words where a caller could react differently, and pass what the message names as data.
Tests say `with raises(DataError, code="column-missing"):` (tests/support/raising.py) and leave the sentence alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

Plain = str | int | float | bool | Sequence[str] | None
"""What an error carries: values that JSON has."""

LONGEST = 3500
"""Bytes of the longest message."""


class FltsError(Exception):
    """Base of everything raised on purpose; str() of it is the message.

    code: a stable word in kebab-case; without one it is the name of the class, as in `data-error`.
    data: what the message names, such as file, column, row, key, found, expected.
    exit_code: what the command line ends with.
    """

    exit_code = 1

    def __init__(self, message: str, *, code: str | None = None, **data: Plain) -> None:
        super().__init__(shortened(visible(without_credentials(message))))
        self.code = code or re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()
        self._data = {name: _plain(value) for name, value in data.items()}

    @property
    def data(self) -> Mapping[str, Plain]:
        """The values behind the message, read-only."""
        return MappingProxyType(self._data)


class Terminal(FltsError):
    """Trying again gives the same answer: report it, never retry it."""


class Transient(FltsError):
    """The outside world was not ready: a bounded number of retries makes sense."""

    exit_code = 3


class UsageError(Terminal):
    """The caller gave an invalid command, key or value."""

    exit_code = 2


class SpecError(UsageError):
    """The experiment is not described correctly."""


class MissingExtra(UsageError):
    """Optional libraries are needed and absent; the message ends with the command that installs them.

    extra: the extras of that command, separated by commas.
    """

    def __init__(self, what: str, *extras: str) -> None:
        self.extra = ",".join(extras)
        named = ", ".join(f"'{extra}'" for extra in extras)
        command = f"pip install 'flts[{self.extra}]'"
        message = f"{what} needs the extra{'s' * (len(extras) > 1)} {named}: {command}"
        super().__init__(message, what=what, extra=self.extra)

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, ...]]:
        return type(self), (str(self.data["what"]), *self.extra.split(","))


class MissingPackage(UsageError):
    """A package outside FLTS is needed and absent; the message ends with the command that installs it."""

    def __init__(self, what: str, package: str, version: str | None = None) -> None:
        requirement = f"{package}=={version}" if version else package
        message = f"{what} needs the package '{package}': pip install '{requirement}'"
        super().__init__(message, what=what, package=package, version=version)
        self.what, self.package, self.version = what, package, version

    def __reduce__(self) -> tuple[type[MissingPackage], tuple[str, str, str | None]]:
        return type(self), (self.what, self.package, self.version)


class Locked(UsageError):
    """Another process holds the lock of this `.flts` folder."""


class DataError(Terminal):
    """The rows cannot be used as they are."""

    exit_code = 4


class NotApplicable(Terminal):
    """A model does not apply to this task by its definition, for instance with too little history."""


class TrainingFailed(Terminal):
    """One model did not produce a forecast; the others are not affected."""


class DeadlineExceeded(TrainingFailed):
    """A fit ran past the time limit and was ended."""


class DamagedObject(Terminal):
    """A stored object differs from its digest or format, or is absent where a record names it."""


class NameTaken(Terminal):
    """An object on a disk cannot have the name of a folder, nor lie below another object."""


class StageFailed(Terminal):
    """A stage ended without its result."""


class MachineFailed(StageFailed):
    """This machine lacks what the work needs, and a person has to act: no model failed and no message is at fault."""


NEEDS_A_PERSON = (UsageError, MachineFailed)
"""What no candidate fails for and no message is given up for: the stage ends, and goes on once a person has acted."""


class BackendUnavailable(Transient):
    """A server could not be reached."""


class NoChampion(Transient):
    """A service is asked in a scope in which nothing was promoted yet; a command ends with UsageError there."""


class ClientError(FltsError):
    """A forecast service gave no forecast. `code` and `detail` are those of its answer.

    detail: what is wrong, and what would fit; status: of the answer, None where none came; request_id: under which the
    service knows the request, if it said so.
    """

    @property
    def detail(self) -> str:
        """What is wrong, and what would fit."""
        return str(self)

    @property
    def status(self) -> int | None:
        """The status of the answer, None where none came."""
        status = self.data.get("status")
        return status if isinstance(status, int) else None

    @property
    def request_id(self) -> str | None:
        """Under which the service knows the request, if it said so."""
        request_id = self.data.get("request_id")
        return request_id if isinstance(request_id, str) else None


class RequestRefused(ClientError, Terminal):
    """The forecast service refuses a request as it is, or does not know who sends it."""


class ServiceUnavailable(ClientError, Transient):
    """The forecast service is busy, has no model yet, was too slow, or cannot be reached."""


class Interrupted(FltsError):
    """The work was asked to stop: Ctrl-C or SIGTERM."""

    exit_code = 130


def of_newer(error: BaseException) -> bool:
    """Whether a newer flts wrote what could not be read: in an update, a process of that version can go on with it."""
    return isinstance(error, FltsError) and error.code in {"record-newer", "message-newer"}


def shortened(text: str) -> str:
    """The same text, without its middle where it is longer than a person reads: a value that it quotes has any length.

    At most LONGEST bytes of UTF-8.
    """
    data = text.encode(errors="surrogatepass")
    if len(data) <= LONGEST:
        return text
    head, tail = data[: LONGEST * 2 // 3], data[-LONGEST // 4 :]
    left_out = f" … ({len(data) - len(head) - len(tail):,} bytes left out) … "
    return head.decode(errors="ignore") + left_out + tail.decode(errors="ignore")


def visible(text: str) -> str:
    """Text from outside with control characters escaped, so that it cannot control the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint for an unknown name: the closest valid one, and all valid ones; never the name itself."""
    names = sorted({*valid} - {word})
    close = difflib.get_close_matches(word.lower(), [n.lower() for n in names], n=1)
    hint = next((n for n in names if close and n.lower() == close[0]), "")
    listed = ", ".join(names) if names else "none"
    return f"did you mean '{hint}'? (valid: {listed})" if hint else f"valid: {listed}"


def near_misses(absent: Iterable[str], others: Iterable[str]) -> str:
    """A hint for absent names, which starts with '; ': the others that are nearly the same. Empty where none is."""
    by_lower = {name.lower(): name for name in others}
    pairs = [(name, difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.8)) for name in absent]
    hints = [f"'{by_lower[close[0]]}' is nearly '{name}'" for name, close in pairs if close]
    return f"; {', '.join(hints)}" if hints else ""


_USER = re.compile(r"(\w://?)(?:[^/\s'\"]*|[^/\s'\":]*:[^\s'\"]*)@")
"""User and password of a URL. A password may hold a slash that nobody escaped. A URL taken for a path has one slash."""
_USER_OF_NO_URL = re.compile(r"\b((?:s3|kafka|https?|ftp|postgresql|mysql):)(?!/)[^\s'\"]*@", re.IGNORECASE)
"""The same where somebody forgot the slashes."""
_USER_OF_NO_SCHEME = re.compile(r"(?<![\w:/])(//)[^/\s'\":]*:[^\s'\"]*@")
"""The same where somebody forgot the scheme; it is a path then."""
_OPTION = re.compile(r"([?&;](?!endpoint=)[^=&\s'\"]+=)[^&\s'\"]+")
"""The value of an option of a URL; that of `endpoint` is the only one that is no secret."""


def without_credentials(text: str) -> str:
    """What people may see of a text: its URLs without user, password and the values of their options.

    Every error of FLTS, every log line and every line about a backend goes through here.
    """
    if "@" in text:
        text = _USER_OF_NO_SCHEME.sub(r"\1…@", _USER_OF_NO_URL.sub(r"\1…@", text))
    return _OPTION.sub(r"\1…", _USER.sub(r"\1…@", text)) if ":/" in text else text


def _plain(value: Plain) -> Plain:
    """A value of an error, without credentials."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, list | tuple):
        return type(value)(without_credentials(one) if isinstance(one, str) else one for one in value)
    return value
