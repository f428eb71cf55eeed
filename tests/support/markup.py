"""Pages, parsed: strict about what must be closed, so that no value of a page can have become markup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "img", "input", "br"})
UNCLOSED = frozenset({"td", "th", "tr", "tbody"})
"""Elements whose end may be left out, as the tables of the page do."""


@dataclass
class Element:
    """An element with its attributes and, in order, its texts and children."""

    tag: str
    attributes: dict[str, str]
    content: list[Element | str] = field(default_factory=list)

    def text(self) -> str:
        """All text in it, with single spaces."""
        parts = (part if isinstance(part, str) else part.text() for part in self.content)
        return " ".join(" ".join(parts).split())

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """Every element in it with this tag and these attributes; a class is one of the words of `class_`."""
        return [found for found in self._within() if found.matches(tag, attributes)]

    def one(self, tag: str = "", **attributes: str) -> Element:
        """The only one. Raises ValueError for none and for several."""
        (found,) = self.all(tag, **attributes)
        return found

    def matches(self, tag: str, attributes: dict[str, str]) -> bool:
        """Whether it has this tag and these attributes."""
        for name, value in attributes.items():
            if name == "class_":
                if value not in self.attributes.get("class", "").split():
                    return False
            elif self.attributes.get(name.replace("_", "-")) != value:
                return False
        return tag in {"", self.tag}

    def _within(self) -> Iterator[Element]:
        for part in self.content:
            if isinstance(part, Element):
                yield part
                yield from part._within()


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        ends = {"td": {"td", "th"}, "th": {"td", "th"}, "tr": {"td", "th", "tr"}}.get(tag, set())
        while self.open[-1].tag in ends:
            self.open.pop()
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice: {attrs}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].content.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1].tag != tag and self.open[-1].tag in UNCLOSED:
            self.open.pop()
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def parse(page: bytes) -> Element:
    """The elements of a page. An end that fits no start is an AssertionError."""
    parser = _Parser()
    parser.feed(page.decode())
    parser.close()
    assert len(parser.open) == 1, f"<{parser.open[-1].tag}> is not ended"
    return parser.root
