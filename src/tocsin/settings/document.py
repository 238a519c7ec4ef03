"""Document: a strict reading of YAML, in which every value knows its line and column.

It is read as events, never as objects: nothing is built that is not there, so neither deep nesting nor aliases that
multiply can hurt. A plain scalar is what YAML 1.2 says, and of that only the plain forms: `no` and `1e3` are text.
"""

import re
from typing import Any, NamedTuple, TypeAlias

import yaml

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 32
VALUES_MAX = 20_000

Key: TypeAlias = tuple[str | int, ...]
"""The way from the top to a value: names of keys, and positions in lists."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{1,17}")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LITERALS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


class Place(NamedTuple):
    """Where something stands in the file; both count from 1, the column in characters."""

    line: int
    column: int


class Flaw(NamedTuple):
    """What is wrong with the text itself."""

    place: Place
    key: Key
    message: str


class Unreadable(Exception):
    """There is no telling what the rest means. flaws: what was found up to there, the reason last."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__(flaws[-1].message)
        self.flaws = flaws


class Document(NamedTuple):
    """What a file says. values: where each value begins; keys: where the name of each key stands."""

    data: Any
    values: dict[Key, Place]
    keys: dict[Key, Place]
    flaws: list[Flaw]

    def place_of(self, key: Key) -> Place:
        """Give the place of a value, or of the nearest that contains it and is there."""
        while key and key not in self.values:
            key = key[:-1]
        return self.values.get(key, Place(1, 1))


def read_document(source: bytes) -> Document:
    """Read a file. An empty one is an empty mapping.

    Raises: Unreadable.
    """
    reading = _Reading()
    try:
        for event in yaml.parse(_text_of(source, reading), Loader=_LOADER):
            reading.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        reading.stop(place, f"This is not YAML: {what}.")
    except yaml.YAMLError as error:
        reading.stop(Place(1, 1), f"This is not YAML: {type(error).__name__}.")
    return Document({} if reading.root is None else reading.root, reading.values, reading.keys, reading.flaws)


def _text_of(source: bytes, reading: "_Reading") -> str:
    if len(source) > BYTES_MAX:
        reading.stop(Place(1, 1), f"The file has {len(source):,} bytes; at most {BYTES_MAX:,} are read.")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode(errors="replace")
        reading.stop(_end_of(before), "This byte is not UTF-8. Save the file as UTF-8.")
    if (found := _UNPRINTABLE.search(text)) is not None:
        reading.stop(
            _end_of(text[: found.start()]),
            f"The character U+{ord(found[0]):04X} cannot stand in YAML. Delete it, or escape it in double quotes.",
        )
    return text


def _end_of(text: str) -> Place:
    lines = re.split("\r\n|[\r\n]", text)
    return Place(len(lines), len(lines[-1]) + 1)


class _Open:
    """A list or mapping that is still being read. name: of the key whose value comes next, None if a key comes."""

    def __init__(self, key: Key, value: dict[str, Any] | list[Any], place: Place, skipped: bool) -> None:
        self.key = key
        self.value = value
        self.place = place
        self.name: str | None = None
        self.skipped = skipped  # Its values are read for their flaws, and belong to nothing.
        self.skips_next = False


class _Reading:
    """Puts events together. No recursion: the depth of the file is not the depth of ours."""

    def __init__(self) -> None:
        self.root: Any = None
        self.values: dict[Key, Place] = {}
        self.keys: dict[Key, Place] = {}
        self.flaws: list[Flaw] = []
        self._open: list[_Open] = []
        self._documents = 0
        self._count = 0

    def stop(self, place: Place, message: str) -> None:
        """Raise Unreadable."""
        raise Unreadable([*self.flaws, Flaw(place, (), message)])

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        assert event.start_mark is not None
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.stop(place, "A second document begins here. Put everything in one, without `---`.")
            case (
                yaml.ScalarEvent() | yaml.SequenceStartEvent() | yaml.MappingStartEvent() | yaml.AliasEvent()
            ):
                self._count += 1
                if self._count > VALUES_MAX:
                    self.stop(
                        place, f"The file holds more than {VALUES_MAX:,} values. Nobody could check it."
                    )
                self._begin(event, place)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._open.pop()
            case _:
                pass

    def _begin(self, event: Any, place: Place) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.value, dict) and parent.name is None:
            self._name(event, place, parent)
            return
        key = self._key_of_next(parent)
        self._refuse_magic(event, place, key)
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if len(self._open) >= DEPTH_MAX:
                self.stop(place, f"This is nested deeper than {DEPTH_MAX} levels.")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            skipped = parent is not None and (parent.skipped or parent.skips_next)
            self._put(parent, key, value, place)
            self._open.append(_Open(key, value, place, skipped))
        elif isinstance(event, yaml.ScalarEvent):
            self._put(parent, key, event.value if event.style else _plain(event.value), place)
        else:
            self._put(parent, key, None, place)

    def _key_of_next(self, parent: _Open | None) -> Key:
        if parent is None:
            return ()
        if isinstance(parent.value, list):
            return (*parent.key, len(parent.value))
        assert parent.name is not None
        return (*parent.key, parent.name)

    def _put(self, parent: _Open | None, key: Key, value: Any, place: Place) -> None:
        skipped = parent is not None and (parent.skipped or parent.skips_next)
        if not skipped:
            self.values[key] = place
        if parent is None:
            self.root = value
        elif isinstance(parent.value, list):
            parent.value.append(value)
        else:
            assert parent.name is not None
            if not parent.skips_next:
                parent.value[parent.name] = value
            parent.name, parent.skips_next = None, False

    def _name(self, event: Any, place: Place, parent: _Open) -> None:
        """Take the name of a key. One that cannot be used is a flaw, and its value belongs to nothing."""
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse_magic(event, place, parent.key)
            self.stop(place, "A key is a plain word here, not a list, a mapping or an alias.")
        name: str = event.value
        key = (*parent.key, name)
        self._refuse_magic(event, place, key)
        parent.name = name
        if name == "<<" and not event.style:
            self._flaw(place, key, "Merge keys (`<<`) are not read. Write the keys out.")
            parent.skips_next = True
        elif name in parent.value:
            first = self.keys.get(key, parent.place)
            self._flaw(place, key, f"This key stands here twice, first in line {first.line}. Delete one.")
            parent.skips_next = True
        elif not parent.skipped:
            self.keys[key] = place

    def _refuse_magic(self, event: Any, place: Place, key: Key) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._flaw(place, key, "Aliases (`*name`) are not read. Write the value out.")
        elif event.anchor is not None:
            self._flaw(place, key, "Anchors (`&name`) are not read. Delete it.")
        if getattr(event, "tag", None) is not None:
            self._flaw(
                place,
                key,
                "Tags (`!name`) are not read. Delete it; text that looks like more goes in quotes.",
            )

    def _flaw(self, place: Place, key: Key, message: str) -> None:
        self.flaws.append(Flaw(place, key, message))


def _plain(text: str) -> Any:
    if text in _LITERALS:
        return _LITERALS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
