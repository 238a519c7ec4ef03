"""Health: is the process alive, and does it accept?"""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from tocsin.web.guard import TheNode

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(node: TheNode) -> JSONResponse:
    """It accepts alerts: the store committed the last time that it was asked."""
    why = node.not_ready()
    return JSONResponse({"status": "not ready", "why": why} if why else {"status": "ok"}, 503 if why else 200)
