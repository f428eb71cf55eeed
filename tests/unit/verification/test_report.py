"""The report in each format: the same claims, the same bytes from the same evidence, and the exit code they come to."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.raising import raises
from tests.support.verified import Ran

from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import BackendUnavailable, UsageError
from flts.contracts.ports import Store
from flts.verification.claims import FALSE, NOT_RECORDED, TRUE, UNREACHABLE
from flts.verification.expectations import read_expectations
from flts.verification.outside import Outside, read_log, read_logs, read_pods
from flts.verification.report import Report, examine
from flts.verification.write.folder import FILES, write_report
from flts.verification.write.html import to_html
from flts.verification.write.json import to_json
from flts.verification.write.markdown import to_markdown
from flts.verification.write.statement import PREDICATE, STATEMENT, to_statement


class Unreachable:
    """A store whose server is away for some of its keys."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix, self.url = store, prefix, store.url

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def get(self, key: str) -> bytes | None:
        if key.startswith(self._prefix):
            raise BackendUnavailable("the store does not answer", code="store-unavailable")
        return self._store.get(key)


def test_every_file_names_every_claim(healthy: Ran, tmp_path: Path) -> None:
    report = healthy.report(tmp_path)
    files = write_report(report, tmp_path / "report")
    assert [file.name for file in files] == [*FILES]
    for file in files:
        text = file.read_text()
        for claim in report.claims:
            left_out = file.name.startswith("statement") and claim.state == NOT_RECORDED and not claim.due
            assert (claim.id in text) != left_out, (file.name, claim.id)


def test_the_same_evidence_gives_the_same_bytes(healthy: Ran, tmp_path: Path) -> None:
    first, second = healthy.report(tmp_path), healthy.copied().report(tmp_path)
    for write in FILES.values():
        assert write(first) == write(second)


def test_a_report_about_damage_does_not_say_where_the_store_is(healthy: Ran) -> None:
    damaged = healthy.with_object(healthy.key("meta.json"), lambda data: data[:-1])
    assert damaged.alone().exit_code == 1
    assert damaged.store.url not in to_json(damaged.alone())


def test_a_path_that_can_be_no_folder_is_refused(healthy: Ran, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with raises(UsageError, code="folder-invalid"):
            write_report(healthy.alone(), folder)


def test_the_json_is_read_back(healthy: Ran) -> None:
    report = healthy.alone()
    assert Report.model_validate_json(to_json(report)) == report


def test_each_claim_names_the_digest_of_its_evidence_and_the_command_that_checks_it(healthy: Ran) -> None:
    report = healthy.alone()
    claim = report.claim("train.ridge.rmse")
    assert {*claim.evidence} >= {
        healthy.key("forecasts.parquet"),
        healthy.key("test.parquet"),
        healthy.key("train-ridge.json"),
    }
    assert claim.check == f"flts verify {healthy.config_hash[:12]} --run 1 --claim train.ridge.rmse"
    alone = healthy.alone(only="train.ridge.rmse")
    assert alone.claim("train.ridge.rmse") == claim
    below = {name for one in alone.claims for name in one.rests_on}
    assert {one.id for one in alone.claims} == {"train.ridge.rmse", *below}
    assert not [name for name in alone.claims if name.id.startswith(("evaluation.", "promotion."))]


def test_pages_show_the_whole_head_of_the_log(healthy: Ran) -> None:
    report = healthy.alone()
    head = str(report.claim("promotion.head").found)
    assert len(head) == 64
    assert head in to_markdown(report)
    assert head in to_html(report)


def test_the_tables_show_the_scoreboard(healthy: Ran) -> None:
    report = healthy.alone()
    (row,) = (line for line in to_markdown(report).splitlines() if line.startswith("| 1 | ridge |"))
    score = report.claim("evaluation.ridge.score").found
    assert f"{score:.4g}" in row


def test_the_summary_says_what_came_out_of_claims_that_hold(healthy: Ran) -> None:
    text = to_markdown(healthy.alone())
    assert "- Rows: 240 for training and 60 for the test, judged on " in text
    assert "- Models: 1 of 1 have a result, the slowest, ridge, in " in text
    assert "- Decision: promote: ridge is the only model with a forecast" in text
    damaged = to_markdown(healthy.with_object(healthy.key("train.parquet"), lambda data: data + b"x").alone())
    assert "- Rows:" not in damaged
    assert "- Decision:" not in damaged


def test_a_page_lists_what_is_not_recorded_for_one_reason_in_one_row(local: Ran) -> None:
    report = local.alone()
    text = to_html(report)
    off = [claim.id for claim in report.claims if claim.section == "tracking"]
    assert len(off) == 6
    assert text.count("tracking was off in this run") == 1
    assert "6 claims: tracking was off in this run" in text
    assert all(f'id="{claim.id}"' in text for claim in report.claims)


def test_a_statement_lists_what_passed_and_leaves_out_what_cannot_be_here(healthy: Ran) -> None:
    report = healthy.alone()
    statement = json.loads(to_statement(report))
    predicate = statement["predicate"]
    assert (statement["_type"], statement["predicateType"]) == (STATEMENT, PREDICATE)
    assert {len(subject["digest"]["sha256"]) for subject in statement["subject"]} == {64}
    counts = Counter(claim.state for claim in report.claims)
    assert len(predicate["passedTests"]) == counts[TRUE]
    assert {name.partition(".")[0] for name in predicate["failedTests"]} == {"tracking", "promotion"}
    assert [one["name"] for one in predicate["configuration"]] == [f"specs/{healthy.config_hash}.json"]
    assert not [name for name in predicate["warnedTests"] if name.startswith(("pods.", "logs.", "chain."))]


def test_a_statement_fails_and_passes_as_the_report_does(healthy: Ran, tmp_path: Path) -> None:
    assert json.loads(to_statement(healthy.report(tmp_path)))["predicate"]["result"] == "PASSED"
    damaged = healthy.with_object(healthy.key("test.parquet"), lambda data: data + b"x")
    result = json.loads(to_statement(damaged.alone()))["predicate"]
    assert result["result"] == "FAILED"
    assert "preprocess.test.digest" in result["failedTests"]
    assert "train.ridge.rmse" in result["failedTests"]


def test_a_local_run_without_broker_pods_and_tracker_passes(local: Ran) -> None:
    report = local.alone()
    assert report.exit_code == 0
    result = json.loads(to_statement(report))["predicate"]
    assert (result["result"], result["warnedTests"], result["failedTests"]) == ("PASSED", [], [])


def test_a_required_claim_that_is_not_recorded_fails_in_every_format(local: Ran) -> None:
    report = local.alone(required=["pods"])
    predicate = json.loads(to_statement(report))["predicate"]
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", ["pods.ready", "pods.restarts"])
    away = examine(Unreachable(local.store, "bundles/"), local.config_hash, 1, required=["pods"])  # type: ignore[arg-type]
    assert away.claim("train.ridge.bundle").state == UNREACHABLE
    for one in (report, away):
        assert one.exit_code == 1
        assert "Not verified. Required and not recorded: pods.ready, pods.restarts." in to_markdown(one)


def test_a_cell_of_a_claim_that_does_not_hold_has_one_mark(healthy: Ran) -> None:
    key = healthy.key("train-ridge.json", "runs/")
    changed = healthy.with_record(key, lambda data: canonical_json({**json.loads(data), "model_hash": "0" * 64}))
    (row,) = (line for line in to_markdown(changed.alone()).splitlines() if line.startswith("| ridge | SUCCESS |"))
    assert row.count("✗") == 1


def test_what_cannot_be_reached_is_neither_true_nor_false(healthy: Ran) -> None:
    store = Unreachable(healthy.store, "bundles/")
    report = examine(store, healthy.config_hash, 1)  # type: ignore[arg-type]
    assert report.claim("train.ridge.bundle").state == UNREACHABLE
    assert report.claim("train.ridge.rmse").state == TRUE
    assert report.exit_code == 3


def test_a_required_claim_must_be_recorded(healthy: Ran, tmp_path: Path) -> None:
    assert healthy.report(tmp_path, required=["chain", "train.ridge"]).exit_code == 0
    assert healthy.report(tmp_path, required=["pods"]).exit_code == 1
    with raises(UsageError, code="claim-unknown"):
        healthy.alone(required=["train.gru"])
    with raises(UsageError, code="claim-unknown"):
        healthy.alone(only="train.ridge.speed")
    with raises(UsageError, code="digest-invalid"):
        healthy.alone(expected_head="2473efac4503")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("comparison.1.result", "the claims of comparison come with --compare RUN"),
        ("expect", "the claims of expect come with --expect FILE"),
        ("train.ridge.rsme", "did you mean 'train.ridge.rmse'?"),
        ("", "claims begin with run, preprocess, tracking, train,"),
        ("trian", "claims begin with run, preprocess, tracking, train,"),
    ],
)
def test_an_unknown_claim_is_refused_with_what_to_write(healthy: Ran, name: str, said: str) -> None:
    with raises(UsageError, code="claim-unknown") as raised:
        healthy.alone(only=name)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 300


EXPECTED = """
expect = [
  { claim = "train.*.duration", operator = "<", value = "1 min" },
  { claim = "evaluation.ridge.coverage_80", operator = ">=", value = 0.5 },
  { claim = "pods.restarts", operator = "==", value = 0 },
]
"""


def pods(folder: Path, restarts: int = 0, cpu: str = "2") -> Path:
    """The output of kubectl about one pod."""
    file = folder / "pods.json"
    item = {
        "metadata": {"name": "train-ridge-1"},
        "spec": {"containers": [{"resources": {"limits": {"cpu": cpu}}}], "nodeName": "node-1"},
        "status": {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": restarts}]},
    }
    file.write_text(json.dumps({"items": [item]}))
    return file


@pytest.mark.parametrize("restarts", [0, 2])
def test_an_expectation_is_a_claim(healthy: Ran, tmp_path: Path, restarts: int) -> None:
    file = tmp_path / "expect.toml"
    file.write_text(EXPECTED)
    outside = Outside(pods=read_pods(pods(tmp_path, restarts)))
    report = healthy.alone(expected=read_expectations(file), outside=outside)
    states = {claim.id: claim.state for claim in report.claims if claim.section == "expect"}
    assert states == {
        "expect.1.train.ridge.duration": TRUE,
        "expect.2.evaluation.ridge.coverage_80": TRUE,
        "expect.3.pods.restarts": FALSE if restarts else TRUE,
    }
    assert [issue.id for issue in report.issues if issue.id.startswith("restarts")] == ["restarts.train-ridge-1"] * (
        restarts > 0
    )


def test_an_expectation_of_what_is_not_recorded_is_not_recorded(healthy: Ran, tmp_path: Path) -> None:
    file = tmp_path / "expect.toml"
    file.write_text(EXPECTED)
    report = healthy.alone(expected=read_expectations(file))
    claim = report.claim("expect.3.pods.restarts")
    assert claim.state == NOT_RECORDED
    assert claim.check.endswith(f"--run 1 --expect FILE --claim {claim.id}")


WRONG = {
    "no toml": "expect = [",
    "another key": 'expects = [{ claim = "a", operator = "<", value = 1 }]',
    "nothing": "expect = []",
    "no value": 'expect = [{ claim = "a", operator = "<" }]',
    "no operator": 'expect = [{ claim = "a", operator = "<>", value = 1 }]',
    "infinity": 'expect = [{ claim = "a", operator = "<", value = inf }]',
    "no number": 'expect = [{ claim = "a", operator = "<", value = nan }]',
    "no duration": 'expect = [{ claim = "a", operator = "<", value = "1 minute" }]',
    "a list as operator": 'expect = [{ claim = "a", operator = ["<"], value = 1 }]',
    "nested too deeply": f"expect = {'[' * 10_000}",
    "a list": 'expect = [{ claim = "a", operator = "<", value = [1] }]',
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_expectations_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "expect.toml"
    file.write_text(WRONG[name])
    with raises(UsageError, code="expectations-invalid"):
        read_expectations(file)


def test_an_expectation_of_an_unknown_claim_is_refused(healthy: Ran, tmp_path: Path) -> None:
    file = tmp_path / "expect.toml"
    file.write_text('expect = [{ claim = "train.gru.duration", operator = "<", value = 1 }]')
    with raises(UsageError, code="claim-unknown"):
        healthy.alone(expected=read_expectations(file))


def test_threads_above_the_limit_of_a_pod_are_an_issue(healthy: Ran, tmp_path: Path) -> None:
    report = healthy.alone(outside=Outside(pods=read_pods(pods(tmp_path, cpu="500m"))))
    (issue,) = (issue for issue in report.issues if issue.id.startswith("threads"))
    assert "0.5 cores" in issue.says
    assert issue.says in to_markdown(report)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with raises(UsageError, code="file-unreadable"):
        read_log(file)
    file.write_text("[]")
    with raises(UsageError, code="log-empty"):
        read_log(file)
    with raises(UsageError, code="pods-unreadable"):
        read_pods(file)


NO_VALUES = {
    "nested too deeply": '{"event":' * 10_000,
    "no number": '{"event":"x","items":[{"a":NaN}]}',
    "a number that is too large": '{"event":"x","items":[{"a":1e999}]}',
    "half of a character": '{"event":"x","items":[{"a":"\\ud800"}]}',
}


@pytest.mark.parametrize("name", NO_VALUES)
def test_what_a_report_cannot_hold_is_no_log_line_and_no_pod(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_text(NO_VALUES[name])
    with raises(UsageError, code="log-empty"):
        read_log(file)
    with raises(UsageError, code="pods-unreadable"):
        read_pods(file)


@pytest.mark.parametrize("cpu", ["nan", "inf", "-1"])
def test_a_limit_that_is_no_number_of_cores_is_refused(tmp_path: Path, cpu: str) -> None:
    with raises(UsageError, code="pods-unreadable"):
        read_pods(pods(tmp_path, cpu=cpu))


@pytest.mark.parametrize("restarts", [-1, 1.7, True])
def test_a_number_of_restarts_that_is_none_is_refused(tmp_path: Path, restarts: Any) -> None:
    with raises(UsageError, code="pods-unreadable"):
        read_pods(pods(tmp_path, restarts))


@pytest.mark.parametrize(("restarts", "said"), [(1, "once"), (2, "2 times")])
def test_restarts_are_counted_in_words(healthy: Ran, tmp_path: Path, restarts: int, said: str) -> None:
    report = healthy.alone(outside=Outside(pods=read_pods(pods(tmp_path, restarts))))
    assert f"train-ridge-1 was restarted {said}" in [issue.says for issue in report.issues]


def test_log_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / folder / "flts.log" for folder in ("first", "second", "third")]
    for file in files:
        file.parent.mkdir()
        file.write_text('{"event":"x"}')
    named = [line.source for log in read_logs(files) for line in log.lines]
    assert named == ["flts.log:1", "flts.log (2):1", "flts.log (3):1"]


def test_a_command_quotes_what_a_file_in_the_store_is_called(healthy: Ran) -> None:
    other = healthy.copied()
    other.store.create(layout.run_part(healthy.config_hash, 1, "train-x; ls"), b"{}")
    claim = other.alone().claim("run.x; ls.record")
    assert claim.check.endswith(" --claim 'run.x; ls.record'")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_pods_is_read_as_a_shell_wrote_it(tmp_path: Path, encoding: str) -> None:
    file = pods(tmp_path)
    expected = read_pods(file).pods
    file.write_text(file.read_text(), encoding=encoding)
    assert read_pods(file).pods == expected


class Page(HTMLParser):
    """The tags of a page, and everything that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        named = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in named.items() if name in {"src", "href", "data"} and value]


def test_the_page_needs_nothing_but_itself(healthy: Ran, tmp_path: Path) -> None:
    report = healthy.report(tmp_path)
    text = to_html(report)
    page = Page(text)
    assert len(text.encode()) < 2**20
    assert not {"script", "link", "img", "iframe"} & page.tags.keys()
    assert "url(" not in text
    assert "@import" not in text
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert {claim.id for claim in report.claims} <= set(page.ids)
    assert page.tags["svg"] == 2


def test_what_a_page_quotes_is_escaped(healthy: Ran, tmp_path: Path) -> None:
    file = tmp_path / "expect.toml"
    file.write_text('expect = [{ claim = "run.environment", operator = "==", value = "<script>alert(1)</script>" }]')
    report = healthy.alone(expected=read_expectations(file))
    assert report.exit_code == 1
    for written, escaped in ((to_html(report), "&lt;script"), (to_markdown(report), "\\<script")):
        assert escaped in written
        assert "<script" not in written.replace(escaped, "")


def test_the_ids_are_those_of_the_reference(healthy: Ran, tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/claims.md").read_text()
    published = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    report = healthy.report(tmp_path)
    assert {claim.id.replace(".ridge", ".MODEL") for claim in report.claims} == published
