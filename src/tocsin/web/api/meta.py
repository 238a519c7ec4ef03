"""Meta: who is asking, and what can be asked: the OpenAPI document, and the same as a page to read."""

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tocsin.core.model.access import Permission, Role
from tocsin.web.docs_page import POLICY, render
from tocsin.web.forms import Shown, instant
from tocsin.web.guard import Reader
from tocsin.web.openapi import Described

router = APIRouter()


class MeOut(BaseModel):
    """Who is asking, as the ledger names them, and what they may do. expires_at: null for never."""

    actor: str
    role: Role
    permissions: list[Permission]
    expires_at: Shown | None


@router.get("/api/v1/me")
def get_me(reader: Reader) -> MeOut:
    """Say who is asking, and what they may do."""
    return MeOut(
        actor=reader.actor,
        role=reader.role,
        permissions=sorted(reader.permissions),
        expires_at=instant(reader.expires_at) if reader.expires_at is not None else None,
    )


@router.get("/api/v1/openapi.json", response_model=dict[str, object])
async def get_openapi(reader: Reader, request: Request) -> Response:
    """Give this API's description (OpenAPI 3.1)."""
    described: Described = request.app.state.described
    return Response(await run_in_threadpool(described.as_json), media_type="application/json")


@router.get(
    "/docs",
    response_class=Response,
    responses={200: {"description": "A page of HTML.", "content": {"text/html": {}}}},
)
async def get_docs(reader: Reader, request: Request) -> Response:
    """Show this API's description as a page that needs no script."""
    described: Described = request.app.state.described
    page = await run_in_threadpool(lambda: render(described.document()))
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": POLICY})
