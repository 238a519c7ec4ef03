"""Metrics: what Prometheus reads."""

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from tocsin.runtime.metrics import CONTENT_TYPE
from tocsin.web.guard import Reader, TheNode

router = APIRouter()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format", "content": {"text/plain": {}}}},
)
async def metrics(node: TheNode, reader: Reader) -> Response:
    """Give all metrics as text. While the store fails, those that need it are NaN or left out."""
    text = await asyncio.to_thread(node.metrics.render, node.figures(), node.store)
    return Response(text, headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})
