"""Addresses: whom a delivery is for. It names its target by a digest; the address stands in a version of the policy."""

import threading
from typing import Annotated

from fastapi import Depends, Request

from tocsin.runtime.node import Node

POLICIES_AT_ONCE = 50


class Addresses:
    """Target id -> address, by the policy in force, else by the newest one before it that knows the target.

    A version never changes, so each is read once. Safe from any thread.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._newest = -1

    def of(self, target: str) -> str:
        """Give the address of a target, "" if no policy that is kept knows it."""
        for one in self._node.policy.targets:
            if one.id == target:
                return one.address
        with self._lock:
            if target not in self._known:
                self._read()
            return self._known.get(target, "")

    def _read(self) -> None:
        """Read the versions that came since the last time."""
        rows = self._node.store.policies(None, 1)
        found: dict[str, str] = {}
        newest = self._newest
        while rows and rows[0].version > newest:
            for row in rows:
                self._newest = max(self._newest, row.version)
                for target in row.policy.targets if row.version > newest else ():
                    found.setdefault(target.id, target.address)
            rows = self._node.store.policies(rows[-1].version, POLICIES_AT_ONCE)
        self._known |= found


def addresses_of(request: Request) -> Addresses:
    """Give the addresses that the application knows."""
    state = request.app.state
    if not hasattr(state, "addresses"):
        state.addresses = Addresses(state.node)
    addresses: Addresses = state.addresses
    return addresses


TheAddresses = Annotated[Addresses, Depends(addresses_of)]
