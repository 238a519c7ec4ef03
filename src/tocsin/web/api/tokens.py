"""Tokens: who may come in. A token is shown once, when it is made; nobody can make one that may more than they may."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, Strict
from starlette.concurrency import run_in_threadpool

from tocsin.core.model.access import Permission, Role, Token, granted
from tocsin.core.model.errors import Conflict, Invalid, NotFound
from tocsin.core.model.input import Denial, TokenCut, TokenIssued
from tocsin.core.model.policy import DAY
from tocsin.ports import Store
from tocsin.runtime.node import Node
from tocsin.web.auth import PER_MINUTE_MAX, NotPermitted, make_token
from tocsin.web.cursors import Cursor, Limit, page, read_cursor
from tocsin.web.denials import client_of
from tocsin.web.forms import Name, Shown, instant, without_default
from tocsin.web.guard import Admin, Auditor, TheDoorkeeper, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import AS_JSON, Moment
from tocsin.web.pepper import is_operators

router = APIRouter(prefix="/api/v1/tokens")


class TokenForm(Form):
    """Who gets in: what they may do is what the role may, narrowed to the scopes if there are any.

    Without expires_at and expires_in_days it works until it is revoked.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "not": {"required": ["expires_at", "expires_in_days"]},
            "examples": [{"name": "ci", "role": "service", "expires_in_days": 365}],
        },
    )

    name: Name
    role: Role
    scopes: Annotated[list[Permission], Field(max_length=len(Permission))] = []
    expires_at: Moment = Field(default=0, json_schema_extra=without_default)
    expires_in_days: Annotated[int, Strict(), Field(ge=1, le=3_650), AS_JSON] = Field(
        default=0, json_schema_extra=without_default
    )
    per_minute: Annotated[
        int,
        Strict(),
        Field(ge=0, le=PER_MINUTE_MAX, description="Requests a minute; 0 for no limit."),
        AS_JSON,
    ] = 0


class TokenOut(BaseModel):
    """What is kept of a token: all but the token itself."""

    id: str
    name: str
    role: Role
    scopes: list[Permission]
    per_minute: int
    expires_at: Shown | None
    created_at: Shown
    created_by: str
    revoked_at: Shown | None


class TokenMade(TokenOut):
    """token: what its bearer sends. It is shown here and never again."""

    token: str


class TokenList(BaseModel):
    tokens: list[TokenOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


class Revoked(BaseModel):
    id: str
    revoked_at: Shown


@router.post("", status_code=201)
async def create(
    form: TokenForm,
    node: TheNode,
    admin: Admin,
    doorkeeper: TheDoorkeeper,
    request: Request,
    response: Response,
) -> TokenMade:
    """Make a token, and show it this once."""
    given = form.model_fields_set & {"expires_at", "expires_in_days"}
    if len(given) > 1:
        raise Invalid("Give expires_at or expires_in_days, not both.", field="expires_at")
    now = node.clock.now()
    expires_at = form.expires_at if "expires_at" in given else None
    if "expires_in_days" in given:
        expires_at = now + form.expires_in_days * DAY
    async with _one_at_a_time(request):  # Else two could be given the same id.
        shown, token = make_token(
            await run_in_threadpool(_fresh, node),
            name=form.name,
            role=form.role,
            at=now,
            pepper=doorkeeper.pepper,
            scopes=form.scopes,
            per_minute=form.per_minute,
            expires_at=expires_at,
            created_by=admin.actor,
        )
        missing = sorted(granted(token.role, token.scopes) - admin.permissions)
        if missing:
            doorkeeper.denials.note(Denial.PERMISSION, admin.actor, client_of(request.scope), missing[0])
            raise NotPermitted(
                f"This token would have the permission {', '.join(missing)}, which you lack. Narrow it: scopes.",
                admin.actor,
                missing[0],
            )
        await node.ask(TokenIssued(token=token), admin.actor)
        await run_in_threadpool(doorkeeper.forget)
        token = await run_in_threadpool(
            _get, node.store, token.id
        )  # Made at the moment that the ledger says.
    response.headers["Cache-Control"] = "no-store"
    return TokenMade(token=shown, **_out(token))


@router.get("")
def list_tokens(node: TheNode, auditor: Auditor, limit: Limit = 50, cursor: Cursor = None) -> TokenList:
    """List tokens, newest first, also those that open nothing any more."""
    after = read_cursor(cursor)
    tokens = list(enumerate(node.store.tokens(), 1))[::-1]
    rows = [row for row in tokens if after is None or row[0] < after]
    shown, next_cursor = page(rows, limit, lambda row: row[0])
    return TokenList(
        tokens=[TokenOut(**_out(token)) for _, token in shown],
        total=len(tokens),
        filters={},
        next_cursor=next_cursor,
    )


@router.delete("/{token_id}", responses={409: {}})
async def revoke(
    token_id: str,
    node: TheNode,
    admin: Admin,
    doorkeeper: TheDoorkeeper,
    request: Request,
    force: Annotated[bool, Query(description="Even if no admin's token is left.")] = False,
) -> Revoked:
    """Revoke a token: from the answer on it opens nothing. One that is revoked stays so."""
    async with _one_at_a_time(request):  # Else the last two admins could revoke each other.
        token = await run_in_threadpool(_get, node.store, token_id)
        if token.revoked_at is None:
            if not force:
                await run_in_threadpool(_check_not_last, node.store, token, node.clock.now())
            await node.ask(TokenCut(token=token.id), admin.actor)
            await run_in_threadpool(doorkeeper.forget)
            token = await run_in_threadpool(_get, node.store, token_id)
    assert token.revoked_at is not None
    return Revoked(id=token.id, revoked_at=instant(token.revoked_at))


def _fresh(node: Node) -> bytes:
    """Give chance for a token. Its id is short, so it is no other's: what is stored goes by it."""
    taken = {token.id for token in node.store.tokens()}
    random = node.ids.random_bytes(36)
    while random[:4].hex() in taken:
        random = node.ids.random_bytes(36)
    return random


def _one_at_a_time(request: Request) -> asyncio.Lock:
    state = request.app.state
    if not hasattr(state, "changing_tokens"):
        state.changing_tokens = asyncio.Lock()
    lock: asyncio.Lock = state.changing_tokens
    return lock


def _get(store: Store, token_id: str) -> Token:
    for token in store.tokens():
        if token.id == token_id:
            return token
    raise NotFound(f"There is no token {token_id[:64]!r}. List them: GET /api/v1/tokens.")


def _check_not_last(store: Store, token: Token, now: int) -> None:
    """Refuse to revoke the last token that can make others. The machine's own does not count. Raises: Conflict."""
    admins = {one.id for one in store.tokens() if _administers(one, now)}
    if admins == {token.id}:
        raise Conflict(
            f"Token {token.id} is the last one of an admin; without it nobody could make another. "
            "Make one first, or insist: ?force=true.",
            state="last",
        )


def _administers(token: Token, now: int) -> bool:
    works = token.revoked_at is None and (token.expires_at is None or token.expires_at > now)
    return works and not is_operators(token) and Permission.ADMINISTER in granted(token.role, token.scopes)


def _out(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "scopes": list(token.scopes),
        "per_minute": token.per_minute,
        "expires_at": instant(token.expires_at) if token.expires_at is not None else None,
        "created_at": instant(token.created_at),
        "created_by": token.created_by,
        "revoked_at": instant(token.revoked_at) if token.revoked_at is not None else None,
    }
