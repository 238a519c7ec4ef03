"""Dialect: how PostgreSQL is asked what `tocsin.stores.tables` asks in SQLite's words, and text that it cannot hold.

It numbers its values, chooses its indexes itself, reads JSON by other functions, and takes no NUL in a text.
"""

import re
from functools import lru_cache
from itertools import count

from psycopg.abc import AdaptContext, Buffer
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from psycopg.types.string import StrBinaryDumper, StrDumper, TextBinaryLoader, TextLoader

from tocsin.stores.tables.asking import GIVEN

_INDEX = re.compile(r" (?:NOT INDEXED|INDEXED BY \w+)")
_VALUE = re.compile(r"\?(\d*)")
_NUMBERS = (
    "(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(convert_from(?, 'UTF8') AS JSON)))"
)

ESCAPE = "\ue000"
"""Of the private use area; a NUL is written as it and a 0, and it itself as it and a 1."""


@lru_cache(maxsize=1000)
def in_postgres(sql: str) -> str:
    """Say in PostgreSQL's words what is said in SQLite's."""
    numbers = count(1)
    plain = _INDEX.sub("", sql.replace(GIVEN, _NUMBERS))
    return _VALUE.sub(lambda value: f"${value[1] or next(numbers)}", plain)


def escape(text: str) -> str:
    """Write a text without NUL."""
    if ESCAPE in text or "\0" in text:
        return text.replace(ESCAPE, ESCAPE + "1").replace("\0", ESCAPE + "0")
    return text


def unescape(text: str) -> str:
    """Read what `escape` wrote."""
    if ESCAPE in text:
        return text.replace(ESCAPE + "0", "\0").replace(ESCAPE + "1", ESCAPE)
    return text


class _Dump(StrDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(escape(obj))


class _DumpBinary(StrBinaryDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(escape(obj))


class _Load(TextLoader):
    def load(self, data: Buffer) -> bytes | str:
        text = super().load(data)
        return unescape(text) if isinstance(text, str) else text


class _LoadBinary(TextBinaryLoader):
    def load(self, data: Buffer) -> bytes | str:
        text = super().load(data)
        return unescape(text) if isinstance(text, str) else text


def adapt(context: AdaptContext) -> None:
    """Let a connection write and read texts as above, every number as a BIGINT, and lists without quotes."""
    adapters = context.adapters
    for dumper in (_Dump, _DumpBinary):
        adapters.register_dumper(str, dumper)
    for loader in (_Load, _LoadBinary):
        adapters.register_loader("text", loader)
    for number in (Int8Dumper, Int8BinaryDumper):
        adapters.register_dumper(int, number)
    adapters.register_dumper(list, ListBinaryDumper)
