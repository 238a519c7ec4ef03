"""A file that means harm is refused at once, and costs next to nothing.

What makes each of them harmless is a limit that is reached early, so that is what is looked at, not the clock.
"""

from pathlib import Path

import pytest
from tests.settings.files import wrongs_of

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 30)
)

HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "aliases that multiply": (BOMB, "a0: Anchors"),
    "a huge file": (b"#" * 1024 * 1024 + b"\n", "The file has 1,048,577 bytes; at most 1,048,576 are read."),
    "a deep list": ("a: " + "[" * 100_000, "This is nested deeper than 32 levels."),
    "a deep mapping": ("{a: " * 100_000, "This is nested deeper than 32 levels."),
    "deep blocks": ("\n".join(" " * depth + f"k{depth}:" for depth in range(500)), "This is nested deeper than 32 levels."),
    "many values": ("a: [" + "x," * 200_000 + "]", "The file holds more than 20,000 values."),
    "a pattern that explodes": ("routes: {routes: [{name: a, matchers: ['x=~((a{100}){100}){100}']}]}", "is not a regular expression that RE2 knows"),
    "a long pattern": (
        f"routes: {{routes: [{{name: a, matchers: ['x=~{'(a|b)?' * 100_000}']}}]}}",
        "This is too long. At most 2,000 are taken.",
    ),
    "a number without end": (f"rate_limit: {{limit: {'9' * 500_000}}}", "This takes a whole number, not text"),
    "wrong names for many channels": (
        "channels:\n"
        + "".join(f"  - {{kind: webhook, name: channel-{n}, url: 'https://x.org'}}\n" for n in range(900))
        + f"routes: {{channels: [{'chanel,' * 10_000}]}}",
        "Channel 'chanel' is not configured.",
    ),
    "many unknown keys": ("".join(f"channel{n}: 1\n" for n in range(9_000)), "There is no such key."),
    "a key without end": ("k" * 1000 + ": 1", "There is no such key."),
    "an object": ("url: !!python/object/apply:os.system ['exit 1']", "Tags (`!name`) are not read."),
    "a device for a secret": ("channels: [{kind: teams, name: t, url: {file: /dev/zero}}]", "it is not a file"),
    "half a surrogate": (b'url: "\xed\xa0\x80"', "This byte is not UTF-8."),
    "an escaped surrogate": ('url: "https://x.org/\\uD800"', "1:"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused(tmp_path: Path, text: str | bytes, said: str):
    wrongs = wrongs_of(tmp_path, text)

    assert any(said in wrong for wrong in wrongs), wrongs[:3]
    assert max(map(len, wrongs)) < 3_000, "what is told stays short"


def test_a_pattern_that_backtracks_elsewhere_is_harmless(tmp_path: Path):
    from tests.settings.files import settings_of

    from tocsin.core.engine.route import matcher_test

    root = settings_of(tmp_path, "routes: {routes: [{name: a, matchers: ['x=~(a+)+b']}]}").routes

    assert root is not None
    assert not matcher_test(root.routes[0].matchers[0])({"x": "a" * 50_000})
