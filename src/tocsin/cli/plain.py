"""Plain: text from outside, made harmless for a terminal.

An alert's message may hold escape sequences that move the cursor, retitle the window or answer for the user, and
bidirectional controls that make text read as what it is not. None of them reach the terminal; all of them are seen.
"""

import unicodedata

_NAMED = {"\n": " ", "\r": " ", "\t": " ", "\u2028": " ", "\u2029": " ", "\u200d": "\u200d"}
"""Line breaks and tabs become spaces. The zero width joiner stays: emoji and some scripts are made of it."""


def plain(text: object, length_max: int = 0) -> str:
    """Give text as one line that only shows itself: whatever is not visible is written as `<U+202E>`.

    length_max: characters; a longer text ends with an ellipsis. 0 for no limit.
    """
    shown = str(text)
    if not shown.isascii() or not shown.isprintable():
        shown = "".join(map(_harmless, shown))
    if 0 < length_max < len(shown):
        shown = shown[: length_max - 1] + "…"
    return shown


def plain_lines(text: object) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(plain(line) for line in str(text).replace("\r\n", "\n").split("\n"))


def _harmless(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    # Cc: control; Cf: format, with the bidirectional controls; Cs: half a surrogate pair, which cannot be written.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Co"):
        return f"<U+{ord(character):04X}>"
    return character
