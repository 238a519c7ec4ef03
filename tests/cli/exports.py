"""Exports to verify and to spoil, and a second opinion on what one says.

Nothing here is taken from the code under test: hashes, tree, tiles, notes and the zip are made anew and without haste,
so that writer and verifier are measured by something that is neither.
"""

import base64
import functools
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

START = 1_800_000_000_000_000
ORIGIN = "tocsin-1a2b3c4d"
BESIDE = ("README.txt", "verify_ledger.py")
"""What is in an export, and not signed."""


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# Keys and notes


class Signer:
    """Somebody with an Ed25519 key. secret: any text."""

    def __init__(self, secret: str, name: str = ORIGIN) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(secret.encode()).digest())
        data = b"\x01" + self.key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{base64.b64encode(data).decode()}"

    def line(self, text: str) -> str:
        """The line that signs this text."""
        return f"— {self.name} {base64.b64encode(self.id + self.key.sign(text.encode())).decode()}\n"


def note(text: str, *signers: Signer) -> bytes:
    return "".join([text, "\n", *(signer.line(text) for signer in signers)]).encode()


def checkpoint(size: int, root: bytes, *signers: Signer, origin: str = ORIGIN) -> bytes:
    return note(f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n", *signers)


# Entries


class Entry(NamedTuple):
    """Three parts, as bytes. private: None once it was erased."""

    header: bytes
    decision: bytes
    private: bytes | None


def an_entry(
    seq: int, *events: dict[str, Any], private: dict[str, Any] | None = None, **header: Any
) -> Entry:
    """An entry with right hashes, whatever else it says."""
    decision = canonical({"events": [{"because": "it was so", **event} for event in events]})
    kept = canonical({"nonce": f"{seq:032x}", **(private or {})})
    return sealed({"at": START + seq, "seq": seq, **header}, decision, kept)


def sealed(header: dict[str, Any], decision: bytes, private: bytes) -> Entry:
    """Put these parts together, with their hashes and what a header must have besides."""
    whole = {
        "actor": "system",
        "cause": None,
        "incident": None,
        "incident_n": None,
        "incident_prev": None,
        "kind": "alert",
        "policy": 1,
        "v": 2,
        "decision_hash": hashlib.sha256(decision).hexdigest(),
        "private_hash": hashlib.sha256(private).hexdigest(),
        **header,
    }
    return Entry(canonical(whole), decision, private)


# The tree, as RFC 6962 defines it


def leaf(header: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + header).digest()


def root_of(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def root_over(entries: list[Entry]) -> bytes:
    return root_of([leaf(entry.header) for entry in entries])


def path_of(kind: str, number: int, width: int) -> str:
    digits = f"{number:03}" if number < 1000 else f"x{number // 1000:03}/{number % 1000:03}"
    return f"tile/{kind}/{digits}" + (f".p/{width}" if width < 256 else "")


def tiles_over(entries: list[Entry]) -> dict[str, bytes]:
    """The hash tiles and the bundles."""
    files = {}
    headers = [entry.header for entry in entries]
    for start in range(0, len(headers), 256):
        some = headers[start : start + 256]
        packed = b"".join(len(header).to_bytes(2, "big") + header for header in some)
        files[path_of("entries", start // 256, len(some))] = packed
    level, hashes = 0, [leaf(header) for header in headers]
    while hashes:
        for start in range(0, len(hashes), 256):
            some = hashes[start : start + 256]
            files[path_of(str(level), start // 256, len(some))] = b"".join(some)
        hashes = [root_of(hashes[start : start + 256]) for start in range(0, len(hashes) - 255, 256)]
        level += 1
    return files


# The export


def line_of(entry: Entry) -> bytes:
    private = b"null" if entry.private is None else entry.private
    return b'{"decision":%b,"header":%b,"private":%b}\n' % (entry.decision, entry.header, private)


@dataclass(frozen=True)
class House:
    """A ledger and who signed it.

    transitions: by size, who signed there; origins: from which entry on it has which name.
    erased: private parts that are gone, by entry: which entry erased it, and what it was.
    """

    entries: list[Entry]
    keys: list[Signer]
    signers: list[Signer]
    transitions: dict[int, list[Signer]] = field(default_factory=dict)
    origins: dict[int, str] = field(default_factory=lambda: {0: ORIGIN})
    erased: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def origin(self, size: int) -> str:
        return [name for seq, name in self.origins.items() if seq < max(size, 1)][-1]

    def checkpoint(self, size: int | None = None, *signers: Signer) -> bytes:
        """The checkpoint over the first so many entries."""
        size = len(self.entries) if size is None else size
        root = root_over(self.entries[:size])
        return checkpoint(size, root, *(signers or self.signers), origin=self.origin(size))

    def files(self) -> dict[str, bytes]:
        """Everything that is in the zip."""
        return {
            "README.txt": b"Read me.\n",
            "checkpoint": self.checkpoint(),
            "keys.txt": "".join(f"{signer.vkey}\n" for signer in self.keys).encode(),
            **{f"transitions/{size}": self.checkpoint(size, *by) for size, by in self.transitions.items()},
            "verify_ledger.py": b"print('sound')\n",
            "entries.jsonl": b"".join(map(line_of, self.entries)),
            **tiles_over(self.entries),
        }

    def zip(self) -> bytes:
        return zipped(self.files())

    def with_entries(self, entries: list[Entry]) -> "House":
        return replace(self, entries=entries)

    def cut(self, size: int) -> "House":
        """The ledger as it was when it had so many entries, with the keys and transitions of that time."""
        entries = self.entries[:size]
        for seq, (by, private) in self.erased.items():
            if seq < size <= by:
                entries[seq] = entries[seq]._replace(private=private)
        adopted = [key for key in self.keys[1:] if any(key.vkey.encode() in one.decision for one in entries)]
        keys = [self.keys[0], *adopted]
        transitions = {at: by for at, by in self.transitions.items() if at <= size}
        return replace(self, entries=entries, keys=keys, signers=keys[-1:], transitions=transitions)


def zipped(files: dict[str, bytes] | list[tuple[str, bytes]], **how: Any) -> bytes:
    """Pack files. how: attributes of each ZipInfo; `level` for deflate."""
    level = how.pop("level", 1)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name, how.get("date_time", (1980, 1, 1, 0, 0, 0)))
            info.compress_type = zipfile.ZIP_DEFLATED
            for attribute, value in how.items():
                setattr(info, attribute, value)
            archive.writestr(info, content, compresslevel=level)
    return out.getvalue()


# A second opinion


def contents(data: bytes) -> list[tuple[str, bytes]] | None:
    """Every file in a zip, by name; None if it cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return sorted((info.filename, archive.read(info)) for info in archive.infolist())
    except Exception:
        return None


def meaning(files: list[tuple[str, bytes]] | None, keys: list[Signer]) -> object:
    """What an export says, and by which keys; None if it cannot be read. Equal for two that say the same.

    White space in a line of entries.jsonl does not matter, nor what is written in a file that is not signed; a note
    says the same as long as it has the same text and one right signature, and no wrong one, by one of the keys.
    """
    if files is None:
        return None
    try:
        return [(name, _said(name, content, tuple(keys))) for name, content in files if name not in BESIDE]
    except (ValueError, RecursionError):
        return None


@functools.lru_cache(4096)  # One file in twenty differs.
def _said(name: str, content: bytes, keys: tuple[Signer, ...]) -> object:
    if name == "entries.jsonl":
        return [json.loads(line, object_pairs_hook=tuple) for line in content.decode().split("\n")[:-1]]
    if name == "checkpoint" or name.startswith("transitions/"):
        text, _, signatures = content.decode().rpartition("\n\n")
        return text, {_is_right(text + "\n", line, keys) for line in signatures.split("\n")} - {None}
    return content


def _is_right(text: str, line: str, keys: tuple[Signer, ...]) -> bool | None:
    """Whether a line signs the text by one of the keys; None if it names none of them."""
    _, name, packed = line.split(" ") if line.count(" ") == 2 else ("", "", "")
    data = base64.b64decode(packed)
    for signer in keys:
        if (signer.name, signer.id) == (name, data[:4]):
            return is_signed(signer.key.public_key().public_bytes_raw(), text.encode(), data[4:])
    return None


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """What another implementation of Ed25519 says."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# Ledgers of a real pump, with what happens to a ledger in its life


def a_life(parts: list[tuple[bytes, bytes, bytes]], size: int) -> House:
    """The first entries that a pump wrote, with `size` entries in all: version 1, and then, with version 2, a name, a
    first key, a second and a third one, private parts that were erased, and a fork.

    parts: header, decision and private part of each.
    """
    first, second, third = Signer("first"), Signer("second"), Signer("third", f"{ORIGIN}/2")
    at = {part: size * part // 10 for part in range(10)}
    erased = [[at[1], at[1] + 2], [at[2], at[2]]]
    told: dict[int, list[dict[str, Any]]] = {
        3: [{"type": "ledger_began", "origin": ORIGIN}, {"type": "key_adopted", "vkey": first.vkey}],
        at[3]: [{"type": "key_adopted", "vkey": second.vkey}],
        at[5]: [{"type": "private_erased", "entries": erased, "basis": "entry"}],
        at[6]: [{"type": "key_retired", "vkey": first.vkey}],
        at[7]: [
            {"type": "ledger_forked", "origin": f"{ORIGIN}/2", "known_size": size, "known_root": "ab" * 32},
            {"type": "key_adopted", "vkey": third.vkey},
        ],
        at[8]: [{"type": "private_erased", "entries": [[at[5], at[5]]], "basis": "subject"}],
    }
    gone = dict.fromkeys((*range(at[1], at[1] + 3), at[2]), at[5]) | {at[5]: at[8]}
    entries: list[Entry] = []
    moved: dict[int, int] = {}  # where an entry of the pump is now
    real = iter(parts)
    for seq in range(size):
        if seq in told:
            before = json.loads(entries[-1].header)
            entry = an_entry(seq, *told[seq], at=before["at"], policy=before["policy"], kind="node")
        else:
            header_bytes, decision, private = next(real)
            header = json.loads(header_bytes)
            moved[header["seq"]] = seq
            header["v"] = 1 if seq < 3 else 2
            header["seq"] = seq
            for name in ("cause", "incident_prev"):
                if header[name] is not None:
                    header[name] = moved[header[name]]
            entry = Entry(canonical(header), decision, private)
        entries.append(entry)
    erased = {seq: (by, entries[seq].private or b"") for seq, by in gone.items()}
    return House(
        [entry._replace(private=None) if seq in gone else entry for seq, entry in enumerate(entries)],
        keys=[first, second, third],
        signers=[third],
        transitions={at[3] + 1: [first, second], at[7] + 1: [second, third]},
        origins={0: ORIGIN, at[7]: f"{ORIGIN}/2"},
        erased=erased,
    )
