"""Ledger: what proves the record to whoever does not trust us: checkpoints, tiles, proofs, envelopes; and erasures.

Below `/ledger` lies what C2SP tlog-tiles asks for, so that any auditor's program can follow the log.
"""

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, Strict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from tocsin.core.ledger.note import encode64
from tocsin.core.ledger.tiles import Bundle, Tile, find_place, pack_bundle
from tocsin.core.model.errors import Conflict, Invalid, NotFound, Unavailable
from tocsin.core.model.input import ErasureAsked, KeysChanged
from tocsin.ports import Store
from tocsin.runtime import evidence, forgetting
from tocsin.runtime.export import write_export
from tocsin.runtime.node import Node
from tocsin.runtime.tree import headers, reader
from tocsin.web.api.trace import IncidentName
from tocsin.web.bounded import Exports, Searches, Stories
from tocsin.web.forms import Text
from tocsin.web.guard import Admin, Auditor, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import AS_JSON

router = APIRouter(tags=["ledger"])

PLAIN = "text/plain; charset=utf-8"
SEQ_MAX = (1 << 53) - 1
"""The largest whole number that every reader of JSON holds exactly."""

ENTRIES_MAX = 10_000
PIECE_BYTES = 1 << 20
EXPORTS_TRIED = 5

Seq = Annotated[int, Path(ge=0, le=SEQ_MAX, description="The entry's number; they count from 0.")]
PlainText: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "as text"}
}
Bytes: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "as bytes"},
    404: {},
}


class KeyOut(BaseModel):
    """A key that signs checkpoints, or did. vkey: its public half, as signed notes write it.

    adopted_seq, retired_seq: the entries that said so; the second is null while it signs.
    """

    vkey: str
    adopted_seq: int
    retired_seq: int | None


class NameOut(BaseModel):
    """What the ledger is called from an entry on."""

    seq: int
    origin: str


class LedgerOut(BaseModel):
    """Where the ledger stands. checkpoint: a signed note over `size` entries with this root; short: `size:root8`."""

    origin: str
    size: int
    root: str
    short: str
    checkpoint: str
    keys: list[KeyOut]
    names: list[NameOut]


class RetireForm(Form):
    """Which key signs no more."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"vkey": "tocsin-0a1b2c3d+89abcdef+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"}]
        },
    )

    vkey: Annotated[Text, Field(min_length=1)]


class GrowthOut(BaseModel):
    """That the ledger of `size` entries begins with the one of `old`.

    root: of the tree of `size`, and hashes: the proof of RFC 6962 section 2.1.2, in base64. checkpoint: the newest one,
    whose size is `size` unless another was asked for.
    """

    old: int
    size: int
    root: str
    hashes: list[str]
    checkpoint: str


class ProvenOut(BaseModel):
    """An entry with its way to the root. Its parts are as they were hashed; private is null if it was erased."""

    seq: int
    header: str
    decision: str
    private: str | None
    path: list[str]


class IncidentProofOut(BaseModel):
    """All entries of an incident that the checkpoint covers, oldest first; each names the one before it."""

    v: int
    incident: str
    number: int
    checkpoint: str
    entries: list[ProvenOut]


class ErasureForm(Form):
    """Whose private parts go: of `entries`, or of all entries in which the text `subject` stands.

    reason: is recorded. With dry_run nothing is erased.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["entries"]}, {"required": ["subject"]}],
            "examples": [{"subject": "anna@example.org", "reason": "asked for by letter", "dry_run": True}],
        },
    )

    entries: Annotated[
        list[Annotated[int, Strict(), Field(ge=0, le=SEQ_MAX), AS_JSON]],
        Field(min_length=1, max_length=ENTRIES_MAX),
    ] = []
    subject: Annotated[Text, Field(min_length=1, max_length=1_000)] = ""
    reason: Annotated[Text, Field(min_length=1, max_length=2_000)]
    dry_run: Annotated[bool, Strict()] = False


class ErasureOut(BaseModel):
    """What was erased, or would be. incidents: numbers of those whose texts go with it."""

    dry_run: bool
    entries: list[int]
    incidents: list[int]


# What an auditor's program follows


@router.get("/ledger/checkpoint", response_class=Response, responses={**PlainText, 409: {}})
async def ledger_checkpoint(node: TheNode, auditor: Auditor) -> Response:
    """Give the checkpoint that was signed last."""
    note = await run_in_threadpool(node.notary.published)
    return Response(note, headers={"content-type": PLAIN, "cache-control": "no-cache"})


@router.get("/ledger/tile/{place:path}", response_class=Response, responses=Bytes)
async def ledger_tile(place: Annotated[str, Path()], node: TheNode, auditor: Auditor) -> Response:
    """Give a tile of the tree, or a bundle of entries (the bytes of their headers)."""
    found = find_place(f"tile/{place}")
    data = await run_in_threadpool(_tile, node.store, found) if found is not None else None
    if data is None:
        raise NotFound(f"There is no tile {place[:80]!r} in a tree of {node.store.head().size} entries.")
    return Response(
        data,
        headers={"content-type": "application/octet-stream", "cache-control": "max-age=31536000, immutable"},
    )


def _tile(store: Store, wanted: Tile | Bundle) -> bytes | None:
    size = store.head().size
    level = wanted.level if isinstance(wanted, Tile) else 0
    if (wanted.index * 256 + wanted.width) << 8 * level > size:
        return None
    if isinstance(wanted, Bundle):
        return pack_bundle(headers(store, wanted.index * 256, wanted.width))
    return reader(store)(wanted.level, wanted.index, wanted.width)


# What people and their programs ask


@router.get("/api/v1/ledger", responses={409: {}})
async def get_ledger(node: TheNode, auditor: Auditor) -> LedgerOut:
    """Say where the ledger stands, signed, and who signs it."""
    return await run_in_threadpool(_ledger, node)


def _ledger(node: Node) -> LedgerOut:
    note = node.notary.latest()
    signed, _ = evidence.signed_tree(node.store, note)
    root = signed.root.hex()
    return LedgerOut(
        origin=signed.origin,
        size=signed.size,
        root=root,
        short=f"{signed.size}:{root[:8]}",
        checkpoint=note.decode(),
        keys=[
            KeyOut(vkey=row.vkey, adopted_seq=row.adopted_seq or 0, retired_seq=row.retired_seq)
            for row in node.store.signers()
        ],
        names=[NameOut(seq=seq, origin=origin) for seq, origin in node.store.origins()],
    )


@router.post("/api/v1/ledger/keys", status_code=201, responses={409: {}})
async def rotate_ledger_key(node: TheNode, admin: Admin) -> KeyOut:
    """Make another key. From now on it signs too, until the older ones are retired."""
    vkey = await run_in_threadpool(node.notary.make_key)
    await node.ask(KeysChanged(adopt=(vkey,)), admin.actor)
    return await run_in_threadpool(_key, node, vkey)


@router.post("/api/v1/ledger/keys/retire", responses={409: {}})
async def retire_ledger_key(form: RetireForm, node: TheNode, admin: Admin) -> KeyOut:
    """Retire a key, once a newer one signs. What it signed stays valid."""
    await run_in_threadpool(node.notary.check_retiring, form.vkey)
    await node.ask(KeysChanged(retire=(form.vkey,)), admin.actor)
    return await run_in_threadpool(_key, node, form.vkey)


def _key(node: Node, vkey: str) -> KeyOut:
    node.notary.keys_changed()
    row = next(row for row in node.store.signers() if row.vkey == vkey)
    return KeyOut(vkey=vkey, adopted_seq=row.adopted_seq or 0, retired_seq=row.retired_seq)


@router.get(
    "/api/v1/ledger/entries/{seq}/proof", response_class=Response, responses={**PlainText, 404: {}, 409: {}}
)
async def ledger_entry_proof(seq: Seq, node: TheNode, auditor: Auditor, stories: Stories) -> Response:
    """Prove that an entry is in the ledger: a tlog-proof file, with the entry's header as its extra data."""
    made = await stories.run(lambda: evidence.prove_entry(node.store, node.notary.latest(), seq))
    return Response(made, headers={"content-type": PLAIN})


@router.get(
    "/api/v1/ledger/export",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}, "description": "a zip"}, 409: {}},
)
async def export_ledger(node: TheNode, auditor: Auditor, exports: Exports) -> Response:
    """Give the whole ledger as a zip, with a program in it that verifies it. It is made first, so give it time."""
    file = await exports.run(_export, node)
    return StreamingResponse(
        _pieces(file), media_type="application/zip", headers={"cache-control": "no-store"}
    )


def _export(node: Node) -> IO[bytes]:
    """Write the export to a file. One in which something was erased while it was read is written anew."""
    for _ in range(EXPORTS_TRIED):
        note = node.notary.latest()
        signed, _tree = evidence.signed_tree(node.store, note)
        file = _write_export(node, note, signed.size)
        if not forgetting.erased_since(node.store, signed.size):
            return file
        file.close()
    raise Unavailable("Something is being erased while the ledger is read. Try again in a minute.")


def _write_export(node: Node, note: bytes, size: int) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    try:
        write_export(
            file,
            segments=node.store.segments(),
            checkpoint=note,
            keys=[row.vkey for row in node.store.signers() if (row.adopted_seq or 0) < size],
            transitions={at: kept for at, kept in node.store.checkpoints() if at <= size},
        )
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


@router.get("/api/v1/ledger/consistency", responses={409: {}})
async def ledger_consistency(
    node: TheNode,
    auditor: Auditor,
    old: Annotated[int, Query(ge=0, le=SEQ_MAX, description="Size of the older checkpoint.")],
    size: Annotated[
        int | None, Query(ge=0, le=SEQ_MAX, description="Size of the newer one; without it, the newest.")
    ] = None,
) -> GrowthOut:
    """Prove that the ledger begins with what it was at an older size: nothing of that was changed or removed."""
    return await run_in_threadpool(_growth, node, old, size)


def _growth(node: Node, old: int, size: int | None) -> GrowthOut:
    note = node.notary.latest()
    grown = evidence.prove_growth(node.store, note, old, size)
    return GrowthOut(
        old=old,
        size=grown.size,
        root=encode64(grown.root),
        hashes=[encode64(one) for one in grown.path],
        checkpoint=note.decode(),
    )


@router.get("/api/v1/incidents/{incident_id}/proof", responses={404: {}, 409: {}})
async def incident_proof(
    incident_id: IncidentName, node: TheNode, auditor: Auditor, stories: Stories
) -> IncidentProofOut:
    """Prove all entries of an incident, with their bytes."""
    made = await stories.run(lambda: evidence.prove_incident(node.store, node.notary.latest(), incident_id))
    return IncidentProofOut.model_validate(msgspec.to_builtins(made))


@router.get(
    "/api/v1/incidents/{incident_id}/envelope",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {}}, "description": "as JSON, byte for byte"},
        404: {},
        409: {},
    },
)
async def incident_envelope(
    incident_id: IncidentName, node: TheNode, auditor: Auditor, stories: Stories
) -> Response:
    """Give an incident in an envelope: sealed with HMAC-SHA256, with the proof of its last entry."""
    if not node.envelope_secrets:
        raise Conflict(
            "No secret seals envelopes yet. Give one: `ledger: {envelope_secrets: [{env: NAME}]}` in tocsin.yaml.",
            state="no secret",
        )
    secret = node.envelope_secrets[0]
    made = await stories.run(
        lambda: evidence.make_envelope(node.store, node.notary.latest(), incident_id, secret)
    )
    return Response(made, headers={"content-type": "application/json"})


@router.post("/api/v1/ledger/erasures", responses={404: {}, 409: {}})
async def erase_from_ledger(form: ErasureForm, node: TheNode, admin: Admin, searches: Searches) -> ErasureOut:
    """Erase private parts of entries for good. That they are gone is recorded, and the ledger stays verifiable."""
    if len(form.model_fields_set & {"entries", "subject"}) != 1:
        raise Invalid("Give either entries or subject.", field="entries")
    asked = await searches.run(_asked, node.store, form)
    if asked.entries and not form.dry_run:
        await node.ask(asked, admin.actor)
    return ErasureOut(dry_run=form.dry_run, entries=list(asked.entries), incidents=list(asked.incidents))


def _asked(store: Store, form: ErasureForm) -> ErasureAsked:
    if form.entries:
        return forgetting.asked_for(store, form.entries, form.reason)
    return forgetting.about_subject(store, form.subject, form.reason)
