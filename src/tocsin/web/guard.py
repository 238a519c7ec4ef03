"""Guard: a route's permission, as a dependency that the application insists on.

`Admission` asks it first, before a body is read; here the route learns who it is, and is asked for it again.
"""

from typing import Annotated

from fastapi import Depends, Request

from tocsin.core.model.access import Permission
from tocsin.runtime.node import Node
from tocsin.web.auth import Doorkeeper, Principal
from tocsin.web.denials import client_of


class Guard:
    """Admits whoever holds the permission, and says who it is."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        principal: Principal = request.scope["principal"]
        doorkeeper_of(request).check(principal, self.permission, client_of(request.scope))
        return principal


def doorkeeper_of(request: Request) -> Doorkeeper:
    """Give who keeps the door of the application."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    return doorkeeper


def node_of(request: Request) -> Node:
    """Give the node that the application stands on."""
    node: Node = request.app.state.node
    return node


TheDoorkeeper = Annotated[Doorkeeper, Depends(doorkeeper_of)]
TheNode = Annotated[Node, Depends(node_of)]
Reader = Annotated[Principal, Depends(Guard(Permission.READ))]
Sender = Annotated[Principal, Depends(Guard(Permission.SEND))]
Responder = Annotated[Principal, Depends(Guard(Permission.RESPOND))]
Silencer = Annotated[Principal, Depends(Guard(Permission.SILENCE))]
Auditor = Annotated[Principal, Depends(Guard(Permission.READ_LEDGER))]
Admin = Annotated[Principal, Depends(Guard(Permission.ADMINISTER))]
