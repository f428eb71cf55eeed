"""A comparison as a page: nothing in it is markup but what belongs to the page."""

from __future__ import annotations

import re

from tests.unit.comparison.test_compare import CHANGES, later, side, stored, with_part

from flts.comparison import words
from flts.comparison.compare import compare


def test_every_section_has_rows_as_wide_as_its_headings() -> None:
    records = [stored(), later(stored(), fitted=False), stored("54c2954f163c"), stored("b0e152235f3f")]
    shown = {section.title: section for section in words.sections(compare(list(map(side, records))))}
    assert {"Runs", "Experiment", "Fits", "Scores", "Notes"} <= shown.keys()
    for section in shown.values():
        assert section.rows or section.lines
        assert {len(row) for row in section.rows} <= {len(section.headings)}


def test_equal_values_are_counted_and_differing_ones_shown() -> None:
    found = compare([side(stored()), side(CHANGES["scoreboard"](later(stored())))])
    artifacts = next(section for section in words.sections(found) if section.title.startswith("Artifacts"))
    assert [row[0] for row in artifacts.rows] == ["scoreboard"]
    assert artifacts.lines == [f"{len(found.artifacts) - 1} of {len(found.artifacts)} equal"]


def test_a_longer_run_is_said_with_the_ranges() -> None:
    slow, quick = [later(stored(), n, 60.0 + n) for n in (1, 2)], [later(stored(), n, 1.0 + n) for n in (3, 4)]
    found = compare([side(*quick), side(*slow)])
    durations = next(section for section in words.sections(found) if section.title.startswith("Durations"))
    ridge = next(row for row in durations.rows if row[0] == "fit of ridge")
    assert ridge[1:] == ["4.5 (2)", "61.5 (2)", "+1267% beyond"]
    assert any(line.startswith("fit of ridge: ") and "61.0 to 62.0 s in 2 runs" in line for line in durations.lines)
    once = words.sections(compare([side(stored()), side(later(stored()))]))
    assert any("one run says nothing" in line for section in once for line in section.lines)


def test_markdown_shows_names_as_they_are() -> None:
    odd = with_part(later(stored()), "gru", recomputed="nondeterminism_detected")
    page = words.markdown(compare([side(stored()), side(odd, damaged=("<b>*x*</b> | `y`\n_z_ a_b",))]))
    assert r"\<b\>\*x\*\</b\> \| \`y\` \_z\_ a_b" in page
    assert "nondeterminism_detected" in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) >= 3
    assert page.count("\n# ") + page.startswith("# ") == 1
