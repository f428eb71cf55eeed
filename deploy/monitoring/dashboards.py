"""Write the dashboards of Grafana from the panels below: `make chart`. A test fails when a file is not what it writes.

Every expression is evaluated by a test on a Prometheus that scrapes the services. No Grafana was there where this was
written, so no dashboard was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
FORECASTS = 'route=~"/predict|/invocations|.*/infer"'
WIDTH, HEIGHT = 8, 7
"""Of a panel, in the 24 columns of Grafana: three in a row."""


class Panel(NamedTuple):
    """One chart. unit: of Grafana; queries: expression by legend, in which {{label}} is the value of a label."""

    title: str
    unit: str
    queries: Mapping[str, str]


def quantiles(metric: str, labels: str = "", by: str = "") -> dict[str, str]:
    """Median, 95 % and 99 % of a histogram."""
    kept = f"{by}, le" if by else "le"
    rate = f"sum by ({kept}) (rate({metric}_bucket{labels}[5m]))"
    legend = f" {{{{{by}}}}}" if by else ""
    return {f"{q:.0%}{legend}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.95, 0.99)}


PIPELINE = (
    Panel("Processes that answer", "short", {"{{service}}": 'sum by (service) (up{job=~"flts|flts-gateway"})'}),
    Panel("Backends that answer", "short", {"{{check}}": 'min by (check) (flts_ready{check=~"store|bus|tracker"})'}),
    Panel(
        "Losses of the brokers in an hour",
        "short",
        {"{{topic}}": "sum by (topic) (increase(flts_backend_lost_total[1h]))"},
    ),
    Panel("Messages that wait", "short", {"{{group}}": "max by (group) (flts_lag)"}),
    Panel(
        "Messages handled per minute",
        "short",
        {"{{topic}} {{outcome}}": "60 * sum by (topic, outcome) (rate(flts_messages_total[5m]))"},
    ),
    Panel("Time to handle a message", "s", quantiles("flts_message_seconds", by="topic")),
    Panel("Fits running", "short", {"{{service}}": "sum by (service) (flts_fits_running)"}),
    Panel("Runs without a judgement", "short", {"runs": "max(flts_runs_open)"}),
    Panel("Age of the oldest of them", "s", {"age": "max(flts_run_open_seconds)"}),
    Panel("Dead letters", "short", {"{{topic}}": "max by (topic) (flts_dead_letters)"}),
    Panel("Candidates in an hour", "short", {"{{outcome}}": "sum by (outcome) (increase(flts_candidates_total[1h]))"}),
    Panel("Judgements in an hour", "short", {"{{outcome}}": "sum by (outcome) (increase(flts_judgements_total[1h]))"}),
    Panel(
        "Requests to the gateway",
        "reqps",
        {"{{method}} {{status}}": "sum by (method, status) (rate(flts_gateway_requests_total[5m]))"},
    ),
    Panel("Time of requests to the gateway", "s", quantiles("flts_gateway_request_seconds")),
    Panel(
        "Bytes through the gateway", "Bps", {"{{direction}}": "sum by (direction) (rate(flts_gateway_bytes_total[5m]))"}
    ),
)
SERVING = (
    Panel(
        "Requests", "reqps", {"{{route}} {{status}}": "sum by (route, status) (rate(flts_serve_requests_total[5m]))"}
    ),
    Panel("Time of a forecast", "s", quantiles("flts_serve_request_seconds", f"{{{FORECASTS}}}")),
    Panel("Wait for the model", "s", quantiles("flts_serve_queue_seconds")),
    Panel(
        "Forecasts that take more than half a second",
        "percentunit",
        {
            "5 minutes": "flts:predict_slow:ratio5m",
            "1 hour": "flts:predict_slow:ratio1h",
            "6 hours": "flts:predict_slow:ratio6h",
        },
    ),
    Panel(
        "Forecast requests that fail, of all",
        "percentunit",
        {
            f"{words}": f"flts:predict_errors:ratio{window} or 0 * flts:predict_slow:ratio{slow}"
            for words, window, slow in (("5 minutes", "5m", "5m"), ("1 hour", "1h", "1h"), ("30 days", "30d", "6h"))
        },
    ),
    Panel("Requests refused", "reqps", {"{{code}}": "sum by (code) (rate(flts_serve_refused_total[5m]))"}),
    Panel(
        "Requests in the service",
        "short",
        {
            "on average": "sum(rate(flts_serve_request_seconds_sum[5m]))",
            "computed now": "sum(flts_serve_in_flight)",
            "waiting now": "sum(flts_serve_queue_depth)",
            "room": "sum(flts_serve_queue_limit)",
        },
    ),
    Panel("Requests by token", "reqps", {"{{token}}": "sum by (token) (rate(flts_serve_token_requests_total[5m]))"}),
    Panel("Bytes", "Bps", {"{{direction}}": "sum by (direction) (rate(flts_serve_bytes_total[5m]))"}),
    Panel("Longest delay of the event loop", "s", {"{{instance}}": "max by (instance) (flts_serve_loop_lag_seconds)"}),
    Panel("CPU", "short", {"{{instance}}": 'sum by (instance) (rate(process_cpu_seconds_total{service="serve"}[5m]))'}),
    Panel("Memory", "bytes", {"{{instance}}": 'sum by (instance) (process_resident_memory_bytes{service="serve"})'}),
    Panel("Models", "short", {"loaded: {{loaded}}": "sum by (loaded) (flts_serve_model_info)"}),
    Panel("Replicas on an older promotion", "short", {"{{scope}}": "sum by (scope) (flts_serve_stale)"}),
    Panel(
        "Time since the logs were read", "s", {"{{instance}}": "max by (instance) (flts_serve_followed_age_seconds)"}
    ),
    Panel(
        "Prediction log",
        "short",
        {
            "lines per second": "sum(rate(flts_serve_log_lines_total[5m]))",
            "parts in an hour": "sum(increase(flts_serve_log_parts_total[1h]))",
        },
    ),
    Panel(
        "Answers missing in the prediction log",
        "short",
        {"{{reason}}": "sum by (reason) (increase(flts_serve_log_dropped_total[1h]))"},
    ),
    Panel(
        "Prediction log that waits for the store",
        "bytes",
        {"{{instance}}": "max by (instance) (flts_serve_log_spooled_bytes)"},
    ),
    Panel("Time since the store took it", "s", {"{{instance}}": "max by (instance) (flts_serve_log_behind_seconds)"}),
    Panel(
        "Self-tests in an hour", "short", {"{{result}}": "sum by (result) (increase(flts_serve_self_tests_total[1h]))"}
    ),
    Panel("Time of a self-test", "s", {"{{scope}}": "max by (scope) (flts_serve_self_test_seconds)"}),
)
EVALUATION = (
    Panel(
        "Live skill against the seasonal naive forecast",
        "percentunit",
        {"{{scope}}": "min by (scope) (flts_serve_live_skill)"},
    ),
    Panel(
        "Live coverage of intervals",
        "percentunit",
        {"{{scope}} {{level}}": "avg by (scope, level) (flts_serve_live_coverage)"},
    ),
    Panel("Time since both were computed", "s", {"{{scope}}": "min by (scope) (flts_serve_live_age_seconds)"}),
    Panel("Score of the champion, on its test windows", "short", {"{{scope}}": "min by (scope) (flts_serve_score)"}),
    Panel("Number of its promotion", "short", {"{{scope}}": "max by (scope) (flts_serve_promotion)"}),
    Panel("Number of the newest promotion", "short", {"{{scope}}": "max by (scope) (flts_serve_newest_promotion)"}),
    Panel("Age of the champion", "s", {"{{scope}}": "min by (scope) (flts_serve_model_age_seconds)"}),
    Panel("Age of its last train row", "s", {"{{scope}}": "min by (scope) (flts_serve_train_age_seconds)"}),
    Panel(
        "Histories far outside the train rows, in an hour",
        "short",
        {"{{scope}}": "sum by (scope) (increase(flts_serve_outside_training_range_total[1h]))"},
    ),
    Panel(
        "Champions by family",
        "short",
        {"{{model_type}}": "count by (model_type) (max by (scope, model_type) (flts_serve_model_info))"},
    ),
    Panel("Judgements in a day", "short", {"{{outcome}}": "sum by (outcome) (increase(flts_judgements_total[1d]))"}),
    Panel("Candidates in a day", "short", {"{{outcome}}": "sum by (outcome) (increase(flts_candidates_total[1d]))"}),
)
DASHBOARDS: Mapping[str, Sequence[Panel]] = {"pipeline": PIPELINE, "serving": SERVING, "evaluation": EVALUATION}


def files() -> dict[str, str]:
    """Name and text of every dashboard."""
    return {f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n" for name, panels in DASHBOARDS.items()}


def dashboard(name: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """A dashboard as Grafana stores it. Its data source is a choice of the reader, by default the first one."""
    source = {"name": "source", "label": "data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"flts-{name}",
        "title": f"FLTS {name}",
        "tags": ["flts"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-30d" if name == "evaluation" else "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 24 // WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "datasource": SOURCE}
            for place, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
