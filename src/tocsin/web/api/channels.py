"""Channels: what can speak, how it fares, and a test of one."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tocsin.core.model.errors import NotFound
from tocsin.core.model.notification import DeliveryState, Refused, Retry
from tocsin.ports import Channel, DeliveryFilter
from tocsin.runtime.node import Node
from tocsin.runtime.rehearsal import Rehearsal
from tocsin.runtime.try_channel import said_of, try_channel
from tocsin.web.cursors import Cursor, Limit, cursor_of, read_cursor
from tocsin.web.guard import Admin, Reader, TheNode
from tocsin.web.incident_forms import Form

router = APIRouter(prefix="/api/v1/channels")

OutcomeWord = Literal["delivered", "accepted", "retry", "refused", "dry_run"]


class TestForm(Form):
    """dry_run: do everything but the network."""

    dry_run: bool = Field(default=False, strict=True)


class OutcomeOut(BaseModel):
    """why: in the provider's words."""

    outcome: OutcomeWord
    why: str


class TestedOut(OutcomeOut):
    address: str


class TestAnswer(BaseModel):
    channel: str
    dry_run: bool
    results: list[TestedOut]


class ChannelOut(BaseModel):
    """addresses: whom it reaches; its own name, where the address itself is a secret.

    pending, dead: deliveries that wait, and that were given up. last_outcome: of the last attempt since this server
    started; failing: that attempt failed.
    """

    name: str
    kind: str
    addresses: list[str]
    dry_run: bool
    pending: int
    dead: int
    last_outcome: OutcomeOut | None
    failing: bool


class ChannelList(BaseModel):
    channels: list[ChannelOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


@router.get("")
def list_channels(node: TheNode, reader: Reader, limit: Limit = 50, cursor: Cursor = None) -> ChannelList:
    """List the channels that are configured, in their order."""
    channels = list(node.channels.values())
    begin = read_cursor(cursor) or 0
    more = len(channels) > begin + limit
    return ChannelList(
        channels=[_channel_out(node, channel) for channel in channels[begin : begin + limit]],
        total=len(channels),
        filters={},
        next_cursor=cursor_of(begin + limit) if more else None,
    )


def _channel_out(node: Node, channel: Channel) -> ChannelOut:
    def count(state: DeliveryState) -> int:
        return node.store.list_deliveries(DeliveryFilter(states=(state,), channel=channel.name), 1)[1]

    last = node.dispatcher.last_outcome(channel.name)
    return ChannelOut(
        name=channel.name,
        kind=channel.kind,
        addresses=list(channel.addresses),
        dry_run=node.dry_run or isinstance(channel, Rehearsal),
        pending=count(DeliveryState.PENDING),
        dead=count(DeliveryState.DEAD),
        last_outcome=OutcomeOut.model_validate(said_of(last)) if last is not None else None,
        failing=isinstance(last, Retry | Refused),
    )


@router.post("/{name}/test")
async def send_test(name: str, node: TheNode, admin: Admin, form: TestForm | None = None) -> TestAnswer:
    """Send a test through a channel as this server has it, to each of its addresses. It is not recorded."""
    channel = node.channels.get(name)
    if channel is None:
        known = ", ".join(node.channels) or "none"
        raise NotFound(f"Channel {name[:64]!r} is not configured. Configured: {known}.")
    dry_run = node.dry_run or (form is not None and form.dry_run)
    tried = await try_channel(
        channel,
        notification_id=node.ids.random_bytes(16).hex(),
        origin=node.origin,
        because=f"{node.names.of(admin.actor)} asked for a test of channel {channel.name}",
        at=node.clock.wall(),
        dry_run=dry_run,
    )
    return TestAnswer(
        channel=channel.name,
        dry_run=dry_run or isinstance(channel, Rehearsal),
        results=[
            TestedOut.model_validate({"address": address} | said_of(outcome)) for address, outcome in tried
        ],
    )
