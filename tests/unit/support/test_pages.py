"""The reader of pages sees what a page shows, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.newcomer import newcomer
from tests.support.pages import Block, shows


def block(text: str, language: str = "sh") -> Block:
    return Block("page.md", 1, language, text, "")


def test_a_mark_at_the_head_is_one_of_the_block_and_any_other_one_of_its_line() -> None:
    head = block("# needs Docker\na\nb \\\n  c\n")
    assert (head.marked, head.unmarked) == (["a\n", "b \\\n  c\n"], [])
    lines = block("a    # what it does\nb \\\n  c  # needs the network\nd  # ◆\n")
    assert lines.marked == ["b \\\n  c  # needs the network\n", "d  # ◆\n"]
    assert lines.unmarked == ["a    # what it does\n"]


@pytest.mark.parametrize(
    ("shown", "said", "is_shown"),
    [
        ("ridge  0.0581  4.3s", "1 ridge 0.0581 12.9s\n", True),
        ("ridge  0.0581", "1 ridge 0.0582\n", False),
        ("ridge  0.058", "1 ridge 0.0581\n", False),
        ('{"size":…,"key":"a"}', '{"size":15,"key":"a"}', True),
        ('{"size":…,"key":"a"}', '{"size":15,"key":"b"}', False),
        ("one\ntwo", "one\n  two", True),
        ("one\ntwo", "one\nhalf\ntwo", False),
    ],
)
def test_a_page_shows_what_was_said(shown: str, said: str, is_shown: bool) -> None:
    assert shows(shown, said) is is_shown


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ([block("echo one\nfalse\n")], "page.md:1 fails"),
        ([block("false   # exit code 2\n")], "page.md:1 fails"),
        ([block("echo one\n"), block("two\n", "")], "shows something else than\none"),
        ([block("print(1)  # 2\n", "python")], "page.md:1 shows 2, and prints\n1"),
    ],
)
def test_a_page_that_lies_is_named(page: list[Block], reason: str, tmp_path: Path) -> None:
    with newcomer(tmp_path) as reader, pytest.raises(AssertionError) as caught:
        reader.follow(page)
    assert reason in str(caught.value)


def test_a_page_that_is_true_is_followed_in_one_terminal(tmp_path: Path) -> None:
    page = [block("a=1\nmkdir in && cd in\n"), block("echo $a\nfalse  # exit code 1\n"), block("1\n", "")]
    cell = "from pathlib import Path\nprint(Path('saved.toml').read_text()[-4:])  # = 2\n"
    cells = [block("# saved.toml\nv = 2\n", "toml"), block(cell, "python")]
    with newcomer(tmp_path) as reader:
        reader.follow([*page, *cells])
    assert reader.followed == [*page, *cells]
