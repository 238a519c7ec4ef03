"""Plain: text from outside, made harmless for a terminal.

An alert's message may hold escape sequences that move the cursor, retitle the window or answer for the user, and
bidirectional controls that make text read as what it is not. None of them reach the terminal; all of them are seen.
"""

import unicodedata

_NAMED = {"\n": " ", "\r": " ", "\t": " ", "\u2028": " ", "\u2029": " "}
"""Line breaks and tabs become spaces."""

_UNSEEN = "\u115f\u1160\u3164\uffa0"
"""Letters that nobody sees: the fillers of Hangul."""

_JOINER = "\u200d"
JOINS_MAX = 3
"""In one emoji, as in a family of four (UTS 51); elsewhere a joiner is written out. What is joined is measured as one
character, so that with more of it a line would be longer than it is taken for."""

MARKS_MAX = 8
"""On one letter. Hundreds of them would be drawn over the lines above and below."""


def plain(text: object, length_max: int = 0) -> str:
    """Give text as one line that only shows itself: whatever is not visible is written as `<U+202E>`.

    length_max: characters; a longer text ends with an ellipsis. 0 for no limit.
    """
    shown = str(text)
    if not shown.isascii() or not shown.isprintable():
        shown = _harmless(shown)
    if 0 < length_max < len(shown):
        shown = shown[: length_max - 1] + "…"
    return shown


def plain_lines(text: object) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(plain(line) for line in str(text).replace("\r\n", "\n").split("\n"))


def _harmless(text: str) -> str:
    shown: list[str] = []
    base, joins, marks = "", 0, 0  # base: the last character that stands by itself
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            marks += 1
            if marks <= MARKS_MAX:
                shown.append(character)
            elif not _is_mark(text[position + 1 : position + 2]):
                shown.append(f"<{marks - MARKS_MAX} more marks>")
            continue
        marks = 0
        if (
            character == _JOINER
            and joins < JOINS_MAX
            and _is_picture(base, text[position + 1 : position + 2])
        ):
            joins += 1
            shown.append(character)
            continue
        if category != "Sk":  # the colour of a skin belongs to what it follows
            joins = joins if shown and shown[-1] == _JOINER else 0
            base = character
        shown.append(_visible(character, category))
    return "".join(shown)


def _is_mark(character: str) -> bool:
    return character != "" and unicodedata.category(character) in ("Mn", "Me")


def _is_picture(*characters: str) -> bool:
    return all(one != "" and unicodedata.category(one) == "So" for one in characters)


def _visible(character: str, category: str) -> str:
    # Cc: control; Cf: format, with the bidirectional controls; Cs: half a surrogate pair, which cannot be written.
    if character in _UNSEEN or (character not in _NAMED and category in ("Cc", "Cf", "Cs", "Cn", "Co")):
        return f"<U+{ord(character):04X}>"
    return _NAMED.get(character, character)
