"""Guard: a route's permission, as a dependency that the application insists on."""

from typing import Annotated

from fastapi import Depends, Request

from tocsin.core.model.access import Permission
from tocsin.runtime.node import Node
from tocsin.web.auth import Doorkeeper, Principal


class Guard:
    """Admits whoever holds the permission, and says who it is."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        doorkeeper: Doorkeeper = request.app.state.doorkeeper
        header = request.headers.get("authorization")
        return doorkeeper.admit(header.encode("latin-1") if header is not None else None, self.permission)


def node_of(request: Request) -> Node:
    """Give the node that the application stands on."""
    node: Node = request.app.state.node
    return node


TheNode = Annotated[Node, Depends(node_of)]
Reader = Annotated[Principal, Depends(Guard(Permission.READ))]
Sender = Annotated[Principal, Depends(Guard(Permission.SEND))]
Responder = Annotated[Principal, Depends(Guard(Permission.RESPOND))]
Silencer = Annotated[Principal, Depends(Guard(Permission.SILENCE))]
