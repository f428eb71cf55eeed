"""Where things are and how many run side by side: values that cannot change a number, and are never hashed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from flts.contracts.errors import UsageError, nearest, without_credentials
from flts.contracts.layout import scope_name

PREFIX = "FLTS_"
ALMOST = 0.87
"""Similarity from which a name counts as a misspelling of another: FLTS_STOER, but not FLTS_STORE_PORT."""


class Settings(BaseSettings):
    """Precedence: defaults < settings file < environment (FLTS_JOBS=2) < command line.

    The settings file is `flts-settings.toml` in the working directory, or what FLTS_SETTINGS_FILE names.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    home: Path = Path(".flts")
    """Folder for everything that runs write."""
    store: str = ""
    """URL of the object store: s3://bucket/prefix, s3:/// (the first part of a key names the bucket), or file:///folder;
    empty means the folder `objects` in `home`. Credentials of S3 are those of the environment: AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY, a file named by AWS_SHARED_CREDENTIALS_FILE, or the role of the machine."""
    s3_endpoint: str = Field(default="", pattern=r"^(https?://[^/?@\s]+)?/?$")
    """Endpoint of an S3 that is not Amazon's, for instance http://127.0.0.1:8333; empty: AWS_ENDPOINT_URL, if set."""
    environment: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    """Name of this environment, written into every record."""
    release_file: Path = Path("/etc/flts-release/release.json")
    """File with a JSON object of what is known of this deployment, such as its release, revision and cluster. A run
    records it with its claim, fits and judgement. There need not be one."""
    node: str = ""
    """Name of the machine below this container, which a run records beside the release."""
    container_image: str = ""
    """Name of the image of this container, where the release file does not say it; a run records it as well."""
    actor: str = ""
    """Who promotes or rolls back by hand, as the promotion log records it; empty means the user of this process, or the
    number of a user without a name, as in most containers."""
    tracking: Literal["auto", "mlflow", "off"] = "auto"
    """Whether runs are tracked in MLflow: auto means if it is installed, and the output says which."""
    mlflow_uri: str = Field(default="", pattern=r"^(|sqlite:[^@\s]+|https?://[^@?\s]+)$")
    """MLflow server; empty means the file `mlflow.db` in `home`. User: MLFLOW_TRACKING_USERNAME and _PASSWORD."""
    mlflow_timeout: float = Field(default=60.0, gt=0)
    """Seconds that MLflow may take to log a run or to answer a question; after that it counts as unavailable."""
    train_timeout: float = Field(default=3600.0, gt=0)
    """Seconds after which a fit is ended and recorded as failed."""
    jobs: int = Field(default=0, ge=0)
    """Trainers that run at once; 0 means cores divided by the threads of a trainer."""
    max_cells: int = Field(default=10**8, gt=0)
    """Rows times columns of the largest table that is read."""
    max_decoded_bytes: int = Field(default=0, ge=0)
    """Bytes of memory that the largest table may take once it is decoded; 0 means a quarter of the free memory."""
    log_format: Literal["auto", "json", "text", "off"] = "auto"
    """Events on stderr. auto means none, and of a service text at a terminal, otherwise JSON. The services
    are `flts worker`, `flts gateway` and `flts serve`; other commands have lines for people."""

    bus: str = Field(default="memory://", pattern=r"^(memory://|kafka://[^/@\s]+)$")
    """The message bus: kafka://host:port (several separated by commas), or memory:// within one process."""
    kafka_partitions: int = Field(default=6, ge=1)
    """Partitions of a topic that flts creates; no more members of a group can work on it at once."""
    kafka_replication: int = Field(default=-1, ge=-1)
    """Replicas of a topic that flts creates; -1 leaves the number to the brokers."""
    kafka_member: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,200}$")
    """Fixed name of this process in its groups, for one that restarts under it: it gets its partitions back."""
    kafka_session_timeout: float = Field(default=6.0, gt=0)
    """Seconds after which other members take over the work of one that died."""
    kafka_timeout: float = Field(default=30.0, gt=0)
    """Seconds to wait for an acknowledgement or an answer from the brokers."""
    kafka_options: dict[str, str] = {}
    """Further options of librdkafka, for instance security.protocol, sasl.mechanism, sasl.username, ssl.ca.location."""
    kafka_password: SecretStr = SecretStr("")
    """SASL password; prefer `kafka_password_file`: no list of processes or variables shows its content."""
    kafka_password_file: Path | None = None
    """File with the SASL password on one line."""
    kafka_key_password: SecretStr = SecretStr("")
    """Password of the client's private key, for mutual TLS; prefer `kafka_key_password_file`."""
    kafka_key_password_file: Path | None = None
    """File with the password of the client's private key on one line."""

    patience: float = Field(default=120.0, gt=0)
    """Seconds for which a service retries when a backend does not answer, before the message becomes a dead letter."""
    max_ended: int = Field(default=2, ge=1)
    """Processes that a message may end before it becomes a dead letter; more where machines are often taken away."""
    grace: float = Field(default=20.0, ge=0)
    """Seconds a service has to finish its work when it is asked to stop; unfinished work is delivered again."""
    decision_deadline: float = Field(default=0.0, ge=0)
    """Seconds after the start of a run when a model without a result counts as failed; 0 waits for ever."""
    worker_idle: float = Field(default=0.0, ge=0)
    """Seconds without a message after which a worker ends, as a Job that was started for messages does; 0 never."""
    probe_host: str = "127.0.0.1"
    """Address on which a worker or the forecast service answers /healthz, /readyz and /metrics without a token; 0.0.0.0
    in a container, :: where it also has an IPv6 address."""
    probe_port: int = Field(default=9090, ge=0, le=65535)
    """Port of the probes; 0 takes a free one."""
    host: str = "127.0.0.1"
    """Address on which the gateway and the forecast service listen; one that other machines can reach requires a
    token."""
    gateway_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the gateway; 0 takes a free one."""
    serve_port: int = Field(default=8000, ge=0, le=65535)
    """Port of the forecast service; 0 takes a free one."""
    serve_scopes: tuple[Annotated[str, AfterValidator(scope_name)], ...] = ()
    """Scopes that the forecast service answers for, as JSON: ["jfk", "lga"]; empty for every scope with a promotion."""
    max_body_bytes: int = Field(default=4 * 2**20, gt=0, le=2**30)
    """Largest body of a request to the forecast service."""
    poll_seconds: float = Field(default=5.0, gt=0)
    """Seconds between two polls of the promotion logs by the forecast service; where a bus is set, its messages
    announce a promotion at once."""
    serve_models: int = Field(default=16, ge=1)
    """Most models that the forecast service keeps in memory; of more scopes, the one that was used longest ago leaves,
    and its next request loads it again."""
    self_test_seconds: float = Field(default=30.0, gt=0)
    """Seconds that loading a promoted model and its self-test may take; after that it is refused, and the older one
    stays."""
    queue_limit: int = Field(default=256, ge=1)
    """Requests that may wait for a model of the forecast service; any further one is refused with 429."""
    request_timeout: float = Field(default=1.0, gt=0, le=300)
    """Seconds that a forecast over HTTP may take, unless the request says otherwise in X-Request-Timeout; then 504."""
    prediction_log: Literal["off", "forecasts", "rows"] = "forecasts"
    """What the forecast service keeps of each answer under `inference-logs/`: nothing, the forecasts, or also the rows
    of the history that were used."""
    spool_dir: Path | None = None
    """Folder on a disk of this machine where the prediction log waits for the store; none: `spool` in `home`. Several
    services may share it."""
    spool_bytes: int = Field(default=256 * 2**20, ge=16 * 2**20)
    """Most bytes that wait there; beyond them the oldest are dropped and counted."""
    token: SecretStr = SecretStr("")
    """Bearer token of requests; prefer `token_file`: no list of processes or variables shows its content."""
    token_file: Path | None = None
    """File with the bearer token on one line."""
    tokens_file: Path | None = None
    """TOML file with several tokens, each with a name, rights, the SHA-256 of the token, and an end: `flts token new`
    prints an entry. It is read again when it changes."""
    rate_per_token: float = Field(default=0.0, ge=0)
    """Requests per second that each name of a token may send, with as many at once after a pause; any further one is
    refused with 429. 0 means any number."""
    session_secret: SecretStr = SecretStr("")
    """Secret that signs the cookies of the page, the same for every replica; prefer `session_secret_file`. Without one
    it is made of `token`, or at random at every start."""
    session_secret_file: Path | None = None
    """File with that secret on one line."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies, as JSON: ["10.0.0.0/8"]. Only their X-Forwarded-For, -Host and -Proto count,
    and only for signing in to the page."""
    tls_certificate_file: Path | None = None
    """File with the certificate of the gateway or the forecast service in PEM, then those of its issuers; with it they
    speak TLS. It is read again when it changes, and so is the key."""
    tls_key_file: Path | None = None
    """File with the private key of that certificate in PEM, without a password."""
    drain_seconds: float = Field(default=0.0, ge=0)
    """Seconds for which the gateway or the forecast service goes on accepting connections after SIGTERM, while /readyz
    says 503; enough for a load balancer to notice."""
    max_object_bytes: int = Field(default=2**30, gt=0, le=50_000_000_000)
    """Largest object that the gateway takes; S3 takes no more than 10,000 parts of 5 MiB."""
    max_connections: int = Field(default=256, ge=1, le=100_000)
    """Most connections of the gateway or the forecast service; fewer where the limit on open files does not allow two
    files for each."""
    max_bytes_in_flight: int = Field(default=256 * 2**20, ge=20 * 2**20)
    """Most bytes of uploads and downloads that the gateway holds; a transfer for which none are left waits its turn."""
    start_timeout: float = Field(default=60.0, gt=0)
    """Seconds that a server of `flts up` may take to answer; as many times longer as the machine has more work than
    cores."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags win over the environment, the environment over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())

    @property
    def store_url(self) -> str:
        """URL of the store with its default and its endpoint filled in, as another process needs it."""
        return self.at_endpoint(self.store or (self.home.resolve() / "objects").as_uri())

    def at_endpoint(self, url: str) -> str:
        """An S3 URL with the endpoint of the settings added, unless it names its own; any other URL unchanged."""
        if self.s3_endpoint and url.startswith("s3://") and "?" not in url:
            return f"{url}?endpoint={self.s3_endpoint.rstrip('/')}"
        return url

    @property
    def spool_folder(self) -> Path:
        """Where the prediction log waits for the store, with its default filled in."""
        return self.spool_dir or self.home / "spool"

    @property
    def tracking_uri(self) -> str:
        """The MLflow database or server, with its default filled in."""
        path = str(self.home.resolve() / "mlflow.db")
        return self.mlflow_uri or f"sqlite:///{path.replace('%', '%25').replace('?', '%3F')}"

    def bearer_token(self) -> str | None:
        """The token or the content of its file, if any. Raises UsageError for both, or for an unreadable file."""
        return _secret("token", self.token, self.token_file)

    def session_key(self) -> str | None:
        """The secret that signs cookies, in the same way."""
        return _secret("session_secret", self.session_secret, self.session_secret_file)

    def sasl_password(self) -> str | None:
        """The SASL password for Kafka, in the same way."""
        return _secret("kafka_password", self.kafka_password, self.kafka_password_file)

    def key_password(self) -> str | None:
        """The password of the private key for Kafka, in the same way."""
        return _secret("kafka_key_password", self.kafka_key_password, self.kafka_key_password_file)

    def deployment(self) -> dict[str, str] | None:
        """What the release file says, with this host, its node and its image; None where none of these is known.

        Raises UsageError for a file that is no such object.
        """
        try:
            said = json.loads(self.release_file.read_text())
            facts = {name: str(value) for name, value in said.items()}
        except FileNotFoundError:
            facts = {}
        except (OSError, ValueError, AttributeError):
            raise UsageError(
                f"release_file {self.release_file} cannot be read as a JSON object",
                code="release-unreadable",
                file=str(self.release_file),
            ) from None
        if self.container_image:
            facts.setdefault("image", self.container_image)
        if self.node:
            facts["node"] = self.node
        return {**facts, "host": gethostname()} if facts else None


def _secret(name: str, value: SecretStr, file: Path | None) -> str | None:
    secret = value.get_secret_value()
    if file is None:
        return secret or None
    if secret:
        raise UsageError(f"both {name} and {name}_file are set; keep one of them", code="setting-twice", setting=name)
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(
            f"{name}_file {file} cannot be read: {reason}",
            code="secret-unreadable",
            setting=f"{name}_file",
            file=str(file),
        ) from None


def settings_file() -> Path:
    """The file settings are read from. Raises UsageError when FLTS_SETTINGS_FILE names one that does not exist."""
    named = os.environ.get("FLTS_SETTINGS_FILE")
    if named is not None and not Path(named).is_file():
        raise UsageError(
            f"{named}: no such file; FLTS_SETTINGS_FILE names it", code="settings-file-missing", file=named
        )
    return Path(named or "flts-settings.toml")


def load_settings(**flags: Any) -> Settings:
    """Settings from all sources; flags that are None do not count. Raises UsageError that names each wrong setting."""
    _refuse_misspelt(os.environ)
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        lines, named = [], []
        for fault in error.errors():
            name = ".".join(map(str, fault["loc"]))
            named.append(name)
            if fault["type"] == "extra_forbidden":
                lines.append(f"unknown setting '{name}'; {nearest(name, Settings.model_fields)}")
            else:
                lines.append(f"setting {name}: {fault['msg']}{_found(str(fault['loc'][0]), fault['input'])}")
        code = "setting-invalid" if Settings.model_fields.keys() & set(named) else "setting-unknown"
        raise UsageError("\n".join(lines), code=code, setting=named) from None
    except SettingsError as error:  # quotes the field, never the value
        name = str(error).partition('"')[2].partition('"')[0]
        raise UsageError(
            f"setting {name}: {PREFIX}{name.upper()} holds no valid JSON, which this setting needs in the environment",
            code="setting-invalid",
            setting=[name],
        ) from None
    except ValueError as error:  # the settings file is not TOML
        raise UsageError(
            f"{settings_file()}: {error}", code="settings-file-unreadable", file=str(settings_file())
        ) from None


def _found(setting: str, value: object) -> str:
    """What was found for a setting, as far as people may see it."""
    if Settings.model_fields[setting].annotation is SecretStr:
        return ""
    if setting == "kafka_options":
        return (
            ""
            if isinstance(value, str)
            else "; write the name of an option in quotes, 'sasl.username', and so its value"
        )
    return f" (found {without_credentials(repr(value))})"


def _refuse_misspelt(variables: Iterable[str]) -> None:
    """Refuse a variable that looks like a misspelt setting; others may be service variables of Kubernetes."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for variable in sorted(variables):
        if variable.upper().startswith(PREFIX) and variable.upper() not in settings:
            for close in get_close_matches(variable.upper(), settings, n=1, cutoff=ALMOST):
                raise UsageError(
                    f"unknown setting {variable} in the environment; did you mean {close}?",
                    code="setting-unknown",
                    setting=variable,
                    expected=close,
                )
