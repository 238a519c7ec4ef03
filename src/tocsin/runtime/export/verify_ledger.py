#!/usr/bin/env python3
"""Verify an exported ledger of Tocsin: was anything in it changed, moved, added or removed?

    python3 verify_ledger.py export.zip --key 'tocsin-1a2b3c4d+5e6f7a8b+AaBbCc...'

This is one file that needs nothing but Python 3.8 or newer. It opens no connection and writes no file. It is meant to
be read before it is trusted, from top to bottom, and to be kept apart from the exports that it judges: a copy of it is
in every export, but whoever can change an export can change that copy too.

What is checked

1. Every entry: its header, its decision and its private part are in the one form that they may have (so that nothing
   can hide in them), and the header holds the SHA-256 of the other two.
2. How entries hang together: numbers without a gap, instants and versions of the policy that never fall, causes before
   their effects, and for each incident a chain from entry to entry, so that none of them can be left out.
3. A private part that is gone was erased on the record: a later entry says so and names it.
4. The Merkle tree over all headers (RFC 6962), and that the tiles in the export are the tiles of this tree.
5. The checkpoint: its size and root are those of the entries, and it is signed by a key that is trusted. That is a key
   given with --key, or one that a trusted key led to: the entry that adopts a key, and a checkpoint over that entry
   signed by a key that was trusted before (in transitions/). An entry that retires a key ends the trust in it.
6. What you kept yourself: a checkpoint (--checkpoint), or the short form from the foot of a message (--short), must be
   of this ledger. If it counts more entries than there are, the export was cut.

What that proves, and what it does not

- With a key that you got on a safe way: whoever held that key vouched for every byte of every entry.
- With a checkpoint that you got at some time, from somebody else or in a message: nothing that was in the ledger then
  was changed or removed since, whoever holds the key. This is the stronger proof, and the newest one is the best. A
  short form has 32 bits of the root: good against damage and haste, not against somebody who computes for days.
- Without either: only that the export is consistent with itself. Anybody can make such an export.
- Somebody who has the key, or stole one that was retired, can sign another ledger. Only a kept checkpoint tells.
- An entry is what was written, not what was true: an alert is what a sender said, `delivered` what a provider said.
- What came after the checkpoint is not in the export. README.txt and verify_ledger.py are in it, but are not signed.

Exit codes: 0 sound, 7 not sound (with the first wrong entry, as far as that can be told), 2 wrong use, 3 there is no
such file or it is no export.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, cast

SOUND, USAGE, NOT_FOUND, UNSOUND = 0, 2, 3, 7


class Unsound(Exception):
    """The export is not what was signed. seq: the first entry that is wrong, None if it cannot be told."""

    def __init__(self, seq: int | None, what: str) -> None:
        super().__init__(what)
        self.seq = seq
        self.what = what


class NoExport(Exception):
    """A file is not there, or is not what it should be at all."""


# ------------------------------------------------------------------------------------- Ed25519 signatures, RFC 8032

P = 2**255 - 19
"""Coordinates are integers modulo this prime. Points of the curve have -x^2 + y^2 = 1 + D x^2 y^2."""
D = -121665 * pow(121666, P - 2, P) % P
L = 2**252 + 27742317777372353535851937790883648493
"""So many times BASE, added up, are NEUTRAL."""
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


class Point(NamedTuple):
    """x = X/Z, y = Y/Z and x y = T/Z (RFC 8032, 5.1.4), so that adding needs no division."""

    x: int
    y: int
    z: int
    t: int


NEUTRAL = Point(0, 1, 1, 0)


def add(one: Point, other: Point) -> Point:
    a = (one.y - one.x) * (other.y - other.x) % P
    b = (one.y + one.x) * (other.y + other.x) % P
    c = 2 * one.t * other.t * D % P
    d = 2 * one.z * other.z % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return Point(e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(number: int, point: Point) -> Point:
    """Add the point to itself so many times, by doubling. Not in constant time: there is no secret here."""
    total = NEUTRAL
    while number:
        if number & 1:
            total = add(total, point)
        point = add(point, point)
        number >>= 1
    return total


def pack_point(point: Point) -> bytes:
    inverse = pow(point.z, P - 2, P)
    x, y = point.x * inverse % P, point.y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def unpack_point(packed: bytes) -> Point | None:
    """Find the point with this y and this parity of x; None if there is none, or if its packed form is another."""
    number = int.from_bytes(packed, "little")
    parity, y = number >> 255, number & (1 << 255) - 1
    if len(packed) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and parity):
        return None
    if x & 1 != parity:
        x = P - x
    return Point(x, y, 1, x * y % P)


BASE = cast(Point, unpack_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")))


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether this is a signature of the message by the owner of the public key (RFC 8032, 5.1.7).

    Strict: a signature has one form only (s < L, and the first half as `pack_point` gives it), and a key of small
    order, with which a signature would fit any message, is none.
    """
    key = unpack_point(public)
    if key is None or len(signature) != 64 or pack_point(multiply(8, key)) == pack_point(NEUTRAL):
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    minus_key = Point(P - key.x, key.y, key.z, P - key.t)
    return pack_point(add(multiply(s, BASE), multiply(k, minus_key))) == r


# ------------------------------------------ keys and checkpoints, c2sp.org/signed-note and c2sp.org/tlog-checkpoint
#
# A checkpoint is a text of three lines (the ledger's name, its size, the root of its tree in base64), an empty line,
# and a line for each signature:
#
#     tocsin-1a2b3c4d
#     1311
#     W/fkTy9w9Qb0VtXn2hC8zv8xT1M4mXgq0mQe0c1Lr9E=
#
#     — tocsin-1a2b3c4d Xm96i2cd...

NOTE_BYTES_MAX = 1 << 16
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f]")
NAME = re.compile(r"[^\s+]+")
SIGNATURE = re.compile(r"— ([^\s+]+) (\S+)")
NUMBER = re.compile("0|[1-9][0-9]{0,15}")
ED25519 = b"\x01"


class Key(NamedTuple):
    """A public key. id: 4 bytes by which a signature names it, beside its name."""

    name: str
    id: bytes
    public: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}"


class Checkpoint(NamedTuple):
    """A statement: the ledger `origin` has `size` entries and this root. what: where it stands, in words.

    text: what is signed; signatures: (name and id of the key, 64 bytes), none if it is not signed.
    """

    what: str
    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: list[tuple[str, bytes, bytes]]


def read_base64(text: str) -> bytes:
    """Raises: ValueError, also if the usual form of the same bytes is another."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("it holds base64 in an unusual form")
    return data


def read_key(vkey: str) -> Key:
    """Read `name+id+key`: the id in hex, the key in base64 after a byte that says Ed25519. Raises: ValueError."""
    name, _, rest = vkey.partition("+")
    id_hex, _, key = rest.partition("+")
    data = read_base64(key)
    key_id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if not NAME.fullmatch(name) or id_hex != key_id.hex():
        raise ValueError("its id is not the one of its name and key")
    if data[:1] != ED25519 or unpack_point(data[1:]) is None:
        raise ValueError("it is no Ed25519 key")
    return Key(name, key_id, data[1:])


def read_checkpoint(data: bytes, what: str, may_be_unsigned: bool = False) -> Checkpoint:
    """Raises: ValueError."""
    note = data.decode("utf-8")
    if CONTROL.search(note) or not note.endswith("\n"):
        raise ValueError("it is not made of lines of text")
    text, _, tail = note.rpartition("\n\n")
    if "\n\n" not in note:
        text, tail = note[:-1], ""
    signatures = []
    for line in tail.split("\n")[:-1]:
        found = SIGNATURE.fullmatch(line)
        if found is None:
            raise ValueError("a line after the empty one is no signature")
        blob = read_base64(found[2])
        signatures.append((found[1], blob[:4], blob[4:]))
    if not signatures and not may_be_unsigned:
        raise ValueError("it is not signed")
    lines = text.split("\n")
    if len(lines) < 3 or not all(lines) or not NUMBER.fullmatch(lines[1]):
        raise ValueError("it does not say origin, size and root")
    root = read_base64(lines[2])
    if len(root) != 32:
        raise ValueError("its root is no SHA-256")
    return Checkpoint(what, lines[0], int(lines[1]), root, (text + "\n").encode(), signatures)


def find_signers(checkpoint: Checkpoint, keys: list[Key]) -> list[Key]:
    """Give those of the keys that signed. A signature by any other key is left alone: a witness may have added it.

    Raises: ValueError if a signature names one of the keys, and is not by it.
    """
    signers = []
    for name, key_id, signature in checkpoint.signatures:
        for key in keys:
            if (key.name, key.id) == (name, key_id):
                if not is_signed(key.public, checkpoint.text, signature):
                    raise ValueError(f"the signature of {key} under {checkpoint.what} is false")
                signers.append(key)
    return signers


# ------------------------------------------------------------ the tree, RFC 6962, and its tiles, c2sp.org/tlog-tiles
#
# A leaf is SHA-256(0x00 and a header), a node is SHA-256(0x01 and its two children). A tile of level 0 holds the
# hashes of 256 leaves, one of level 1 those of 256 tiles of level 0, and so on.

WIDTH = 256


def hash_pairs(hashes: list[bytes]) -> bytes:
    """Hash a perfect tree: 1, 2, 4, 8, ... hashes become one."""
    sha256 = hashlib.sha256
    while len(hashes) > 1:
        hashes = [sha256(b"\x01" + hashes[i] + hashes[i + 1]).digest() for i in range(0, len(hashes), 2)]
    return hashes[0]


class Tree:
    """A tree that grows by tiles.

    size: how many leaves it has; levels: on each level, the hashes of the last tile while that is not full.
    """

    def __init__(self) -> None:
        self.size = 0
        self.levels: list[list[bytes]] = [[]]

    def add(self, leaves: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
        """Add 256 leaves, or fewer that are the last. Gives each tile that is full then, as level and hashes."""
        self.size += len(leaves)
        level, hashes = 0, leaves
        while len(hashes) == WIDTH:
            yield level, hashes
            self.levels[level] = []
            level += 1
            if level == len(self.levels):
                self.levels.append([])
            hashes = [*self.levels[level], hash_pairs(hashes)]
        self.levels[level] = hashes

    def root(self, leaves: list[bytes]) -> bytes:
        """Hash the tree as it would be with these leaves: its perfect subtrees, taken together from the right."""
        edge = []
        for hashes in [*self.levels[:0:-1], leaves]:
            start = 0
            for width in (128, 64, 32, 16, 8, 4, 2, 1):
                if len(hashes) & width:
                    edge.append(hash_pairs(hashes[start : start + width]))
                    start += width
        if not edge:
            return hashlib.sha256(b"").digest()
        root = edge.pop()
        while edge:
            root = hash_pairs([edge.pop(), root])
        return root


def tile_name(kind: str, index: int, width: int = WIDTH) -> str:
    """Name a tile's file. kind: its level, or `entries`; width: how much is in it. 1234067 is x001/x234/067."""
    path = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03}/{path}"
    return f"tile/{kind}/{path}" if width == WIDTH else f"tile/{kind}/{path}.p/{width}"


def tile_names(size: int) -> Iterator[tuple[str, int]]:
    """Name each file of tiles of a ledger of this size, with the first entry that it is about."""
    for kind, level in [("entries", 0)] + [(str(level), level) for level in range(8)]:
        span = WIDTH**level
        count = size // span
        for start in range(0, count, WIDTH):
            yield tile_name(kind, start // WIDTH, min(WIDTH, count - start)), start * span


# --------------------------------------------------------------------------------------------------------- an entry
#
# A line of entries.jsonl is {"decision":...,"header":...,"private":...}, each part with the bytes that were hashed.

INTEGER_MAX = (1 << 53) - 1
"""The largest integer that every reader of JSON keeps."""
LINE_BYTES_MAX = 1 << 28
HEADER_BYTES_MAX = (1 << 16) - 1

TEXT = rb'"(?!")[^"\\\x00-\x1f]*(?:\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*)*"'
DIGITS = b"(0|[1-9][0-9]{0,15})"
HEX = b'"([0-9a-f]{%d})"'
HEADER = re.compile(
    b",".join(
        (
            rb',"header":(\{"actor":' + TEXT,
            b'"at":' + DIGITS,
            b'"cause":(?:null|' + DIGITS + b")",
            b'"decision_hash":' + HEX % 64,
            b'"incident":(?:null,"incident_n":null,"incident_prev":null|' + HEX % 32,
            b'"incident_n":' + DIGITS,
            b'"incident_prev":(?:null|' + DIGITS + b"))",
            b'"kind":' + TEXT,
            b'"policy":' + DIGITS,
            b'"private_hash":' + HEX % 64,
            b'"seq":' + DIGITS,
            b'"v":' + DIGITS + rb"\})",
            b'"private":',
        )
    )
)
"""A header, where it stands in a line. It has these fields in this order, no others, and no white space."""
VERSIONS = (b"1", b"2")
"""Of the form of an entry. They differ in what events say, which is not looked at here."""
DECISION = re.compile(rb'\{"events":\[.*\](?:,"late_by":[1-9][0-9]{0,15})?\}', re.DOTALL)
"""The outer form of a decision: events, and perhaps by how much it was late."""


def refuse(number: str) -> Any:
    raise ValueError(f"it holds {number}, which is no integer")


parse = json.JSONDecoder(parse_float=refuse, parse_constant=refuse).decode
write = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False
).encode


def read_object(data: bytes) -> dict[str, Any]:
    """Read an object in canonical JSON (RFC 8785 without floats): sorted keys, no white space, one form for each value.

    What is written again differs from what was read if a key stood twice, a letter was written as a code, and so on.
    Raises: ValueError, RecursionError.
    """
    value = parse(data.decode("utf-8"))
    if type(value) is not dict or write(value).encode("utf-8") != data:
        raise ValueError("a part of it is no object in canonical form")
    return value


def read_decision(data: bytes) -> list[dict[str, Any]]:
    """Read the events in a decision, each with its type and why it was decided. Raises: as `read_object`."""
    decision = read_object(data)
    events = decision.get("events")
    if type(events) is not list or not decision.keys() <= {"events", "late_by"}:
        raise ValueError("its decision is not made of events")
    for event in events:
        if type(event) is not dict or not type(event.get("type")) is type(event.get("because")) is str:
            raise ValueError("its decision holds something that is no event")
    return events


PLAIN = re.compile(rb':(?:"[^"\\\x00-\x1f]*"|(?<!"type":)(?<!"because":)(?:0|-?[1-9][0-9]{0,17}))')
"""A string or an integer, with the colon before it, that can be written in one way only."""
SHAPES_MAX = 50_000


class Shapes:
    """A short cut, without which all of this would take twice as long: of all texts of one shape, one is read.

    The shape of a text is what remains when a NUL, which no text holds, stands for each PLAIN. If a text with some
    string in place of each NUL can be read, so can the same with any other PLAIN there: its value is another, nothing
    else. Ledgers have millions of texts, and few shapes.
    """

    def __init__(self, read: Callable[[bytes], object]) -> None:
        self.read = read
        self.known: set[bytes] = set()

    def check(self, text: bytes) -> None:
        """Raises: as `read` does, if this text cannot be read."""
        shape = PLAIN.sub(b"\0", text)
        if shape in self.known and b"\0" not in text:
            return
        self.read(text)
        if len(self.known) < SHAPES_MAX:
            try:
                self.read(shape.replace(b"\0", b':"any"'))
            except ValueError:
                return  # What looked like a PLAIN was within a string, or is not free to be any.
            self.known.add(shape)


ABOUT_LEDGER = (b"ledger_began", b"ledger_forked", b"key_adopted", b"key_retired", b"private_erased")
"""The types of the events that are read here. The others are for a replay, which this is not."""
SAYS_SO = re.compile(b'"type":"(?:%b)"' % b"|".join(ABOUT_LEDGER))


class Entry(NamedTuple):
    """An entry that is sound by itself.

    header: its bytes; events: those about the ledger, if any; is_whole: its private part is there; digits: as bytes.
    """

    header: bytes
    at: int
    policy: int
    cause: bytes | None
    incident: bytes | None
    incident_n: bytes | None
    incident_prev: bytes | None
    events: list[dict[str, Any]]
    is_whole: bool


class Reader:
    """Reads the lines of entries.jsonl, and checks what can be checked of an entry without the others."""

    def __init__(self) -> None:
        self.decisions = Shapes(read_decision)
        self.privates = Shapes(read_object)

    def read(self, line: bytes, seq: int) -> Entry:
        """Raises: ValueError, RecursionError."""
        if not line.isascii():
            line.decode("utf-8")  # Raises if it cannot be.
        found = HEADER.search(line)
        if found is None or not line.startswith(b'{"decision":') or not line.endswith(b"}\n"):
            raise ValueError(
                "its line is not made of a decision, a header and a private part, or its header is none"
            )
        decision, private = line[12 : found.start()], line[found.end() : -2]
        header, at, cause, decision_hash, incident, n, prev, policy, private_hash, number, v = found.groups()
        if v not in VERSIONS:
            raise ValueError(f"it has version {int(v)}, this program knows 1 and 2: take a newer one")
        if int(number) != seq:
            raise ValueError(f"it says that it is entry {int(number)}")
        if hashlib.sha256(decision).hexdigest().encode() != decision_hash:
            raise ValueError("its decision was changed")
        if not DECISION.fullmatch(decision):
            raise ValueError("its decision is not made of events")
        self.decisions.check(decision)
        events = read_decision(decision) if SAYS_SO.search(decision) else []
        is_whole = private != b"null"
        if is_whole:
            if hashlib.sha256(private).hexdigest().encode() != private_hash:
                raise ValueError("its private part was changed")
            self.privates.check(private)
        entry = Entry(header, int(at), int(policy), cause, incident, n, prev, events, is_whole)
        if entry.at > INTEGER_MAX or entry.policy > INTEGER_MAX or len(header) > HEADER_BYTES_MAX:
            raise ValueError("its instant or its policy is out of range, or its header is too long")
        return entry


# ------------------------------------------------------------------------------------------ how they hang together

COUNTS = 1 << 40


class Walk:
    """What is remembered from entry to entry.

    incidents: of each, its last entry and how many it had, as (last + 1) * COUNTS + count: there may be millions.
    gone: runs [first, last] of entries without a private part; erased: runs of which entries say that it was erased.
    keys: (seq, whether it was adopted or retired, key); origins: (seq, what the ledger is called from there on).
    """

    def __init__(self) -> None:
        self.at = 0
        self.policy = 0
        self.incidents: dict[int, int] = {}
        self.gone: list[tuple[int, int]] = []
        self.erased: list[tuple[int, int]] = []
        self.keys: list[tuple[int, bool, Key]] = []
        self.origins: list[tuple[int, str]] = []

    def step(self, seq: int, entry: Entry) -> None:
        """Check how an entry fits the ones before it, and remember it. Raises: ValueError."""
        if entry.at < self.at:
            raise ValueError("it is older than the entry before it")
        if entry.policy < self.policy:
            raise ValueError(
                f"it has policy {entry.policy}, but the entry before it has {self.policy} already"
            )
        self.at, self.policy = entry.at, entry.policy
        if entry.cause is not None and int(entry.cause) >= seq:
            raise ValueError(f"its cause {int(entry.cause)} is not before it")
        if entry.incident is not None:
            incident, n = int(entry.incident, 16), int(entry.incident_n or 0)
            said = (int(entry.incident_prev) + 1) * COUNTS + n if entry.incident_prev else n or None
            if n >= COUNTS or said != self.incidents.get(incident):
                raise ValueError("its links to the entries of its incident are wrong")
            self.incidents[incident] = (seq + 1) * COUNTS + n + 1
        if not entry.is_whole:
            is_next = self.gone and self.gone[-1][1] == seq - 1
            first = self.gone.pop()[0] if is_next else seq
            self.gone.append((first, seq))
        for event in entry.events:
            if event["type"] in ("ledger_began", "ledger_forked"):
                self.name_ledger(seq, event)
            elif event["type"] in ("key_adopted", "key_retired"):
                self.change_keys(seq, event)
            elif event["type"] == "private_erased":
                self.erase(seq, event)

    def name_ledger(self, seq: int, event: dict[str, Any]) -> None:
        origin = event.get("origin")
        if type(origin) is not str or not origin:
            raise ValueError("it gives the ledger no name")
        self.origins.append((seq, origin))

    def change_keys(self, seq: int, event: dict[str, Any]) -> None:
        vkey = event.get("vkey")
        try:
            key = read_key(vkey if type(vkey) is str else "")
        except ValueError as error:
            raise ValueError(f"the key that it names is none: {error}") from error
        self.keys.append((seq, event["type"] == "key_adopted", key))

    def erase(self, seq: int, event: dict[str, Any]) -> None:
        runs = event.get("entries")
        end = -1
        for run in runs if type(runs) is list else [None]:
            if type(run) is not list or [*map(type, run)] != [int, int] or not end < run[0] <= run[1] < seq:
                raise ValueError("it erased something else than entries before it, named in order")
            end = run[1]
            self.erased.append((run[0], run[1]))

    def find_lost(self) -> int | None:
        """Give the first entry whose private part is gone although none says that it was erased."""
        starts: list[int] = []
        ends: list[int] = []
        for first, last in sorted(self.erased):
            if ends and first <= ends[-1] + 1:
                ends[-1] = max(ends[-1], last)
            else:
                starts.append(first)
                ends.append(last)
        for first, last in self.gone:
            place = bisect_right(starts, first) - 1
            if place < 0 or ends[place] < first:
                return first
            if ends[place] < last:
                return ends[place] + 1
        return None

    def origin_at(self, size: int) -> str | None:
        """Tell what the ledger was called when it had so many entries; None if no entry says so."""
        names = [origin for seq, origin in self.origins if seq < size]
        return names[-1] if names else self.origins[0][1] if self.origins else None


# ------------------------------------------------------------------------------------------------------- the export

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, struct.error)
"""What Python raises over a zip that is broken (NotImplementedError is a RuntimeError)."""
ALWAYS = ("checkpoint", "keys.txt", "entries.jsonl", "README.txt", "verify_ledger.py")
TRANSITION = re.compile(f"transitions/({NUMBER.pattern})")
SMALL_BYTES_MAX = 1 << 22


class Export:
    """The zip, and what is small in it.

    checkpoint: over all entries; transitions: those that were signed when keys changed, smallest first.
    Raises: NoExport, Unsound.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self.zip = zipfile.ZipFile(file)
        except (*DAMAGED, ValueError) as error:
            raise NoExport(f"it is no zip, or was cut or damaged ({error})") from error
        members = [one for one in self.zip.infolist() if one.file_size or not one.filename.endswith("/")]
        self.names = {one.filename for one in members}
        if not self.names & {"checkpoint", "entries.jsonl"}:
            raise NoExport("it is a zip, but not one of a ledger")
        for one in members:
            if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Unsound(None, f"{one.filename!r} is packed in a way that no export is")
        if len(self.names) < len(members):
            raise Unsound(None, "a file is in the export twice")
        for name in ALWAYS:
            if name not in self.names:
                raise Unsound(None, f"{name} is missing")
        self.checkpoint = self.read_checkpoint("checkpoint")
        self.transitions = self.read_transitions()
        self.keys = self.read_keys()
        self.check_names()
        self.read("README.txt", SMALL_BYTES_MAX)
        with open(__file__, "rb") as program:
            self.holds_this_program = self.read("verify_ledger.py", SMALL_BYTES_MAX) == program.read()

    def read(self, name: str, bytes_max: int) -> bytes:
        """Read a file as a whole. Raises: Unsound if it is damaged, or too large for what it should be."""
        try:
            with self.zip.open(name) as file:
                data = file.read(bytes_max + 1)
        except (*DAMAGED, ValueError) as error:
            raise Unsound(None, f"{name} cannot be read: {error}") from error
        if len(data) > bytes_max:
            raise Unsound(None, f"{name} is too large")
        return data

    def read_checkpoint(self, name: str) -> Checkpoint:
        try:
            return read_checkpoint(self.read(name, NOTE_BYTES_MAX), name)
        except ValueError as error:
            raise Unsound(None, f"{name} is no signed checkpoint: {error}") from error

    def read_transitions(self) -> list[Checkpoint]:
        transitions = []
        for name in sorted(self.names):
            found = TRANSITION.fullmatch(name)
            if found is not None:
                transition = self.read_checkpoint(name)
                if transition.size != int(found[1]) or not 0 < transition.size <= self.checkpoint.size:
                    raise Unsound(None, f"{name} counts {transition.size} entries")
                transitions.append(transition)
        return sorted(transitions, key=lambda one: one.size)

    def read_keys(self) -> list[Key]:
        try:
            *lines, end = self.read("keys.txt", SMALL_BYTES_MAX).decode("utf-8").split("\n")
            keys = [read_key(line) for line in lines]
        except ValueError as error:
            raise Unsound(None, f"keys.txt holds something that is no key: {error}") from error
        if not keys or end or len({*keys}) < len(keys):
            raise Unsound(None, "keys.txt does not hold keys, one a line and each once")
        return keys

    def check_names(self) -> None:
        """Every file is there that must be, and no other. Raises: Unsound."""
        expected = {*ALWAYS, *(one.what for one in self.transitions)}
        for name, seq in tile_names(self.checkpoint.size):
            if name not in self.names:
                raise Unsound(seq, f"{name} is missing")
            expected.add(name)
        for name in sorted(self.names - expected):
            raise Unsound(None, f"{name!r} does not belong in an export of this size")


class Found(NamedTuple):
    """What the entries say: the end of the walk over them, and the tree's root at each size that was asked for."""

    walk: Walk
    roots: dict[int, bytes]


def check_entries(export: Export, sizes: set[int], tell: Callable[[int], None]) -> Found:
    """Check every entry in order, and every tile. Raises: Unsound at the first entry that is wrong."""
    size = export.checkpoint.size
    reader, walk, tree, roots = Reader(), Walk(), Tree(), {}
    seq = 0
    try:
        with io.BufferedReader(cast(Any, export.zip.open("entries.jsonl")), 1 << 18) as lines:
            for start in range(0, size + 1, WIDTH):
                headers = []
                for seq in range(start, min(start + WIDTH, size)):
                    line = lines.readline(LINE_BYTES_MAX)
                    if not line:
                        raise ValueError(f"the checkpoint counts {size} entries, there are {seq}")
                    entry = reader.read(line, seq)
                    walk.step(seq, entry)
                    headers.append(entry.header)
                leaves = [hashlib.sha256(b"\x00" + header).digest() for header in headers]
                for wanted in sizes.intersection(range(start, start + WIDTH)):
                    roots[wanted] = tree.root(leaves[: wanted - start])
                check_bundle(export, start, headers)
                for level, hashes in tree.add(leaves):
                    check_tile(export, tree.size, level, hashes)
                tell(tree.size)
            for level, hashes in enumerate(tree.levels):
                check_tile(export, size, level, hashes)
            seq = size
            if lines.readline(1):
                raise ValueError(f"the checkpoint counts {size} entries, there are more")
    except (ValueError, RecursionError) as error:
        raise Unsound(seq, str(error)) from error
    except DAMAGED as error:
        raise Unsound(seq, f"entries.jsonl cannot be read here: {error}") from error
    lost = walk.find_lost()
    if lost is not None:
        raise Unsound(lost, "its private part is gone, and no later entry says that it was erased")
    return Found(walk, roots)


def check_bundle(export: Export, start: int, headers: list[bytes]) -> None:
    """A bundle holds up to 256 headers, each after its length. Raises: Unsound."""
    if headers:
        name = tile_name("entries", start // WIDTH, len(headers))
        data = export.read(name, WIDTH * (HEADER_BYTES_MAX + 2))
        packed = [len(header).to_bytes(2, "big") + header for header in headers]
        if data != b"".join(packed):
            right = next((n for n in range(len(packed)) if not data.startswith(b"".join(packed[: n + 1]))), 0)
            raise Unsound(start + right, f"{name} does not hold the headers of the entries")


def check_tile(export: Export, size: int, level: int, hashes: list[bytes]) -> None:
    """A tile holds up to 256 hashes, the last of their level in a tree of this size. Raises: Unsound."""
    if hashes:
        index = (size // WIDTH**level - 1) // WIDTH
        name = tile_name(str(level), index, len(hashes))
        if export.read(name, WIDTH * 32) != b"".join(hashes):
            raise Unsound(index * WIDTH ** (level + 1), f"{name} is no tile of the tree over the entries")


# ------------------------------------------------------------------------------------------------------ the verdict


class Claim(NamedTuple):
    """That the ledger had so many entries and a root that begins so (in hex). origin: its name, None if not said."""

    what: str
    size: int
    root: str
    origin: str | None


def claim_of(checkpoint: Checkpoint) -> Claim:
    return Claim(checkpoint.what, checkpoint.size, checkpoint.root.hex(), checkpoint.origin)


def check_claims(export: Export, found: Found, claims: list[Claim]) -> None:
    """Is the tree over the entries the one that was signed, and the one of each checkpoint that was kept?

    The smallest of them that does not fit tells best where the ledger differs: not before the largest that fits.
    Raises: Unsound.
    """
    size, walk = export.checkpoint.size, found.walk
    fits = 0
    for claim in sorted(claims, key=lambda one: one.size):
        name = walk.origin_at(claim.size) or export.checkpoint.origin
        origin = claim.origin or name
        for seq, new in walk.origins:
            if seq < claim.size and origin == walk.origin_at(seq) != new:
                what = (
                    f"{claim.what} counts {claim.size} entries of {origin}, which ends here, as {new} begins"
                )
                raise Unsound(seq, what)
        if origin.partition("/")[0] != name.partition("/")[0] or (origin != name and claim.size <= size):
            raise Unsound(None, f"{claim.what} is of {origin}, the ledger was {name} then")
        if claim.size > size:
            what = f"the export was cut: {claim.what} counts {claim.size} entries, there are {size}"
            raise Unsound(size, what)
        if not found.roots[claim.size].hex().startswith(claim.root):
            what = f"{claim.what} has another root: an entry from {fits} to {claim.size - 1} is not as it was"
            raise Unsound(min(fits, max(0, claim.size - 1)), what)
        fits = claim.size


def check_keys(export: Export, found: Found, pinned: list[Key]) -> None:
    """Does keys.txt hold the keys that entries adopted, in order? One that is older than that may stand before them.

    Raises: Unsound.
    """
    adopted = []
    for _, is_adopted, key in found.walk.keys:
        if is_adopted and key not in adopted:
            adopted.append(key)
    first = export.keys[0]
    is_older = first not in adopted and (first in pinned or not pinned)
    if export.keys[is_older:] != adopted:
        raise Unsound(None, "keys.txt does not hold the keys that the ledger adopted")


def check_signatures(export: Export, found: Found, pinned: list[Key]) -> list[Key]:
    """Follow the keys from those that are trusted to those that signed the checkpoint, and give these.

    Raises: Unsound.
    """
    known = [*export.keys, *(key for key in pinned if key not in export.keys)]
    trusted = {*(pinned or export.keys[:1])}
    changes = [*found.walk.keys]
    vouched = 0
    signers: list[Key] = []
    for checkpoint in [*export.transitions, export.checkpoint]:
        try:
            signers = find_signers(checkpoint, known)
        except ValueError as error:
            raise Unsound(vouched, str(error)) from error
        if not signers:
            raise Unsound(vouched, f"{checkpoint.what} is not signed by any key of the ledger")
        if trusted.intersection(signers):
            # Who signed vouches for the entries below, and so for what they say of keys.
            while changes and changes[0][0] < checkpoint.size:
                _, is_adopted, key = changes.pop(0)
                (trusted.add if is_adopted else trusted.discard)(key)
            vouched = checkpoint.size if checkpoint is not export.checkpoint else vouched
    trusted_signers = [key for key in signers if key in trusted]
    if not trusted_signers:
        keys = ", ".join(map(str, signers))
        raise Unsound(vouched, f"the checkpoint is signed by {keys}, to which no key leads that is trusted")
    return trusted_signers


def check_kept(export: Export, pinned: list[Key], kept: list[Checkpoint]) -> None:
    """A kept checkpoint that is signed is signed by a key of this ledger. Raises: Unsound."""
    for checkpoint in kept:
        try:
            signers = find_signers(checkpoint, [*export.keys, *pinned])
        except ValueError as error:
            raise Unsound(None, str(error)) from error
        if checkpoint.signatures and not signers:
            raise Unsound(None, f"{checkpoint.what} is not signed by any key of the ledger")


class Report(NamedTuple):
    """What is told of a sound export. signers: trusted keys under its checkpoint; erased: how many private parts."""

    signers: list[Key]
    erased: int
    origins: list[tuple[int, str]]


def verify(
    export: Export, pinned: list[Key], kept: list[Checkpoint], short: list[Claim], tell: Callable[[int], None]
) -> Report:
    """Check all of an export.

    pinned: the keys that are trusted from the beginning; kept, short: what is known of the ledger from elsewhere;
    tell: hears how many entries were checked.
    Raises: Unsound.
    """
    claims = [*map(claim_of, [*export.transitions, export.checkpoint, *kept]), *short]
    found = check_entries(export, {claim.size for claim in claims}, tell)
    check_claims(export, found, claims)
    check_keys(export, found, pinned)
    signers = check_signatures(export, found, pinned)
    check_kept(export, pinned, kept)
    erased = sum(last + 1 - first for first, last in found.walk.gone)
    return Report(signers, erased, found.walk.origins)


# ------------------------------------------------------------------------------------------------- the command line

UNPINNED = """\
WARNING: no key and no checkpoint was given, so this shows only that the export is CONSISTENT WITH ITSELF.
Whoever made it may have made up all of it, together with the keys in it. Get the ledger's key on another
way, or a checkpoint that was kept since earlier, and give it with --key, --checkpoint or --short.
"""


def read_file(path: str) -> bytes:
    """Raises: NoExport."""
    try:
        with open(path, "rb") as file:
            return file.read(SMALL_BYTES_MAX)
    except OSError as error:
        raise NoExport(f"{path} cannot be read: {error.strerror}") from error


def keys_given(given: str) -> list[Key]:
    """Read a key, or a file of keys, one a line. Raises: ValueError, NoExport."""
    try:
        return [read_key(given)]
    except ValueError:
        if given.count("+") > 1 and "\n" not in given:
            raise
    lines = read_file(given).decode("utf-8").splitlines()
    return [read_key(line.strip()) for line in lines if line.strip()]


def read_short(given: str) -> Claim:
    """Read such as `1311:5bf7e44f`. Raises: ValueError."""
    size, _, root = given.partition(":")
    if not NUMBER.fullmatch(size) or not re.fullmatch("[0-9a-f]{8,64}", root):
        raise ValueError("it is not written as size:root, the root in at least 8 hex digits")
    return Claim(given, int(size), root, None)


def plain(text: str) -> str:
    """Show nothing of what was read that could steer a terminal."""
    return "".join(one if one in "\n" or " " <= one <= "~" else ascii(one)[1:-1] for one in text)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="verify_ledger.py",
        description="Verify an exported ledger of Tocsin: was anything in it changed, moved, added or removed?",
        epilog="Exits with 0 if it is sound, 7 if not, 2 for wrong use, 3 if there is no such file or it is no export. "
        "What is checked and what that proves stands at the top of this file.",
    )
    parser.add_argument("export", help="the file that `tocsin ledger export` wrote")
    repeated: Any = {"action": "append", "default": []}
    parser.add_argument(
        "--key", metavar="VKEY|FILE", help="a key that you trust, or a file of them", **repeated
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="a checkpoint that you got from elsewhere", **repeated
    )
    parser.add_argument(
        "--short", metavar="SIZE:ROOT", help="the short form of one, as in messages", **repeated
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, and no word if it is sound")
    given = parser.parse_args(arguments)
    # Each option is read here, so that what cannot be read is wrong use, and not a wrong export.
    try:
        name = "--key"
        given.key = [key for text in given.key for key in keys_given(text)]
        name = "--checkpoint"
        given.checkpoint = [
            read_checkpoint(read_file(path), path, may_be_unsigned=True) for path in given.checkpoint
        ]
        name = "--short"
        given.short = [read_short(text) for text in given.short]
    except ValueError as error:
        parser.error(f"{name} cannot be read: {plain(str(error))}")
    return given


def judge(given: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Verify the export that was named, and put what there is to say into the answer. Raises: NoExport, Unsound."""

    def tell(done: int) -> None:
        if is_shown and done % 4096 == 0:
            size = export.checkpoint.size
            print(f"\rchecked {done:,} of {size:,} entries", end="", file=sys.stderr)
            sys.stderr.flush()

    is_shown = sys.stderr.isatty() and not given.quiet
    try:
        with open(given.export, "rb") as file:
            export = Export(file)
            checkpoint = export.checkpoint
            answer.update(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex())
            report = verify(export, given.key, given.checkpoint, given.short, tell)
    except OSError as error:
        raise NoExport(f"it cannot be read: {error.strerror}") from error
    finally:
        if is_shown:
            print("\r\x1b[K", end="", file=sys.stderr)
    kept = [*given.checkpoint, *given.short]
    answer.update(
        sound=True,
        short=f"{checkpoint.size}:{checkpoint.root.hex()[:8]}",
        vouched=checkpoint.size if given.key else max((one.size for one in kept), default=0),
        signers=[*map(str, report.signers)],
        agrees=[one.what for one in kept],
        erased=report.erased,
        notes=[
            f"at entry {seq} the ledger was forked, and is called {origin} from there on, as that entry says"
            for seq, origin in report.origins[1:]
        ],
    )
    if not export.holds_this_program:
        answer["notes"].append("the verify_ledger.py in the export is another than this one")


def show(answer: dict[str, Any]) -> None:
    """Say in words that an export is sound, and no more than was shown."""
    if answer["vouched"] == answer["size"]:
        print("The export is sound: no entry in it was changed, moved, added or removed.")
    elif answer["vouched"]:
        print(
            f"The export is consistent, and its first {answer['vouched']} entries are as they were when you kept that."
        )
    else:
        print("The export is consistent with itself.")
    print(f"ledger   {plain(answer['origin'])}")
    print(f"size     {answer['size']} entries")
    print(f"root     {answer['root']}")
    print(f"short    {answer['short']}")
    trust = "which --key leads to" if answer["pinned"] else "WHICH IS ONLY KNOWN FROM THE EXPORT"
    print(f"signed   by {plain(', '.join(answer['signers']))}, {trust}")
    for what in answer["agrees"]:
        print(f"agrees   with {plain(what)}")
    if answer["erased"]:
        print(f"erased   the private parts of {answer['erased']} entries, each named by a later entry")
    for note in answer["notes"]:
        print(f"note     {plain(note)}")


def main(arguments: list[str] | None = None) -> int:
    """Verify the export that the arguments name, say what was found, and give the exit code."""
    answer: dict[str, Any] = {"sound": False, "bad_seq": None, "what": "", "pinned": False}
    try:
        given = parse_arguments(arguments)
    except NoExport as error:
        print(plain(str(error)), file=sys.stderr)
        return NOT_FOUND
    answer["pinned"] = bool(given.key)
    code = SOUND
    try:
        judge(given, answer)
    except Unsound as error:
        code = UNSOUND
        answer.update(bad_seq=error.seq, what=error.what)
        if not given.json:
            where = "" if error.seq is None else f" First wrong entry: {error.seq}."
            print(f"The export is NOT sound.{where} {plain(error.what)}", file=sys.stderr)
    except NoExport as error:
        code = NOT_FOUND
        answer.update(what=str(error))
        if not given.json:
            print(f"{plain(given.export)}: {plain(str(error))}", file=sys.stderr)
    if given.json:
        print(json.dumps(answer, indent=2))
    elif code == SOUND and not given.quiet:
        show(answer)
    if code == SOUND and not (given.key or given.checkpoint or given.short):
        print(UNPINNED, end="", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
