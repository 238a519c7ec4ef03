"""Looking: what a reader would make of HTML, of Markdown, of a stream of events and of a terminal's lines."""

import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any, NamedTuple

VOID = {"meta", "br", "link", "img", "input", "base", "hr"}


class Page(HTMLParser):
    """Every tag with its attributes' names and values, comments and declarations, and where links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shapes: set[tuple[str, tuple[str, ...]]] = set()
        self.attributes: set[tuple[str, str, str]] = set()
        self.links: list[str] = []
        self.others: list[str] = []
        self.counts: dict[str, int] = {}
        self.said = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.shapes.add((tag, tuple(name for name, _ in attributes)))
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, value in attributes:
            if name in ("href", "src", "action", "formaction", "data", "srcdoc", "background", "poster"):
                self.links.append(value or "")
            else:
                self.attributes.add((tag, name, value or ""))

    def handle_data(self, data: str) -> None:
        self.said += data

    def handle_comment(self, data: str) -> None:
        self.others.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.others.append(f"declaration {decl}")

    def handle_pi(self, data: str) -> None:
        self.others.append(f"instruction {data}")

    def unknown_decl(self, data: str) -> None:
        self.others.append(f"declaration {data}")


def foreign_in(page: Page, template: Page) -> list[Any]:
    """What is in a page that its template does not have by itself: tags, attributes, values, links of other kinds."""
    return [
        *sorted(page.shapes - template.shapes - {("br", ())}),
        *sorted(page.attributes - template.attributes),
        *[link for link in page.links if not re.match(r"(?i)(https?|mailto):", link) and not link.startswith("#")],
        *[other for other in page.others if other not in template.others],
    ]  # fmt: skip


def markdown_texts(element: Any) -> list[str]:
    """All strings of an Adaptive Card that Teams reads as Markdown, in order."""
    match element:
        case {"type": "TextBlock", "text": str(text)}:
            return [text]
        case {"type": "FactSet", "facts": list(facts)}:
            return [text for fact in facts for text in (fact["title"], fact["value"])]
        case dict():
            return [text for value in element.values() for text in markdown_texts(value)]
        case list():
            return [text for value in element for text in markdown_texts(value)]
        case _:
            return []


_OBEYED = re.compile(r"[*_`\[\]~]|<[a-zA-Z/!?]|\{\{|&#?\w+;")
_OBEYED_AT_START = re.compile(r"^( *[-+#>]\s| *#{1,6}\s| *---| *\d+[.)]\s|    |\t)", re.MULTILINE)


def obeyed_in(markdown: str) -> list[str]:
    """What Teams would obey instead of showing it."""
    bare = re.sub(r"\\[^\n]", "x", markdown)  # whatever is escaped is a letter
    return [*_OBEYED.findall(bare), *_OBEYED_AT_START.findall(bare)]


class Event(NamedTuple):
    """One event as a browser dispatches it."""

    id: str
    kind: str
    data: str


def events_of(stream: str) -> list[Event]:
    """Read a stream as WHATWG HTML, 9.2.6 says; what has no end yet is dropped."""
    found: list[Event] = []
    id_ = kind = ""
    data: list[str] = []
    lines = re.split(r"\r\n|\r|\n", stream)
    for line in lines[:-1]:
        if not line:
            if data:
                found.append(Event(id_, kind, "\n".join(data)))
            kind, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "id":
                id_ = value
            case "event":
                kind = value
            case "data":
                data.append(value)
    return found


ACTING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of what acts on a terminal instead of showing itself, or shows nothing that anybody knows."""


def acting_in(text: str, *, lines: bool = True) -> list[str]:
    """What in a text acts on a terminal. The zero width joiner is let pass: emoji and some scripts are made of it."""
    return [
        f"U+{ord(one):04X}"
        for one in text
        if unicodedata.category(one) in ACTING and one != "\u200d" and not (lines and one == "\n")
    ]


def steering_in(text: str) -> list[str]:
    """What in a line breaks it or turns its direction. (A face that draws on a terminal asks more: `acting_in`.)"""
    return re.findall("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text)


def json_line(line: str) -> dict[str, Any]:
    """One line of a log or of a stream, which is one object."""
    read = json.loads(line)
    assert isinstance(read, dict)
    return read
