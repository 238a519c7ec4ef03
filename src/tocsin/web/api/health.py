"""Health: is the process alive, and does it accept?"""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from tocsin.web.guard import TheNode

router = APIRouter()


class HealthOut(BaseModel):
    """status: `ok` or `not ready`; why: what stands in the way, null if nothing does."""

    status: str
    why: str | None = None


@router.get("/healthz", response_model_exclude_none=True)
async def healthz() -> HealthOut:
    """The process lives."""
    return HealthOut(status="ok")


@router.get(
    "/readyz",
    response_model_exclude_none=True,
    responses={503: {"model": HealthOut, "description": "It does not; nothing should be sent to it."}},
)
async def readyz(node: TheNode, response: Response) -> HealthOut:
    """It accepts alerts: the store committed the last time that it was asked, and deliveries do not stand still."""
    why = node.not_ready()
    if why:
        response.status_code = 503
        return HealthOut(status="not ready", why=why)
    return HealthOut(status="ok")
