"""What an OpenTelemetry SDK exports; in a process of its own, because an SDK is global."""

from __future__ import annotations

import json
import subprocess
import sys

WORK = """
import json
from flts.backends.bus_memory import MemoryBus
from flts.contracts.ports import Record
from flts.runner.services.trace import TracedBus, continued

bus = TracedBus(MemoryBus())
bus.ensure(["answers"])
headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
claim = Record("claims", 0, 0, "key", b"", headers, 0)
with continued(claim, "train-ridge"):
    bus.publish("answers", "key", b"")
(answer,) = bus.records("answers")
"""
COLLECTED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""
TOLD = """
print(json.dumps({
    "sent": answer.headers["traceparent"],
    "spans": [[s.name, f"{s.context.trace_id:032x}", f"{s.parent.span_id:016x}", f"{s.context.span_id:016x}"]
              for s in exporter.get_finished_spans()],
}))
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"


def said_by(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_a_configured_sdk_exports_the_work_on_a_message_under_the_span_that_sent_it() -> None:
    told = json.loads(said_by(COLLECTED + WORK + TOLD))
    ((name, trace, parent, span),) = told["spans"]
    assert (name, trace, parent) == ("train-ridge", TRACE, "b7ad6b7169203331")
    assert told["sent"] == f"00-{TRACE}-{span}-01"


def test_without_an_sdk_messages_still_carry_the_trace() -> None:
    sent, loaded = said_by(
        WORK + "import sys\nprint(answer.headers['traceparent'], 'opentelemetry.sdk' in sys.modules)"
    ).split()
    assert (sent[3:35], loaded) == (TRACE, "False")
