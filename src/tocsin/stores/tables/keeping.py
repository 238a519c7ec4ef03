"""Keeping: small things that belong to no turn, one row each."""

from abc import ABC, abstractmethod
from typing import Any

from tocsin.core.model.access import Token
from tocsin.stores.tables.records import token_row
from tocsin.stores.tables.rows import KEEP_SECRET, PUT_CHECKPOINT, PUT_SECRET, PUT_TOKEN


class Keeping(ABC):
    """Keeps them; see `tocsin.ports.Store`, as for every method here."""

    @abstractmethod
    def _write(self, sql: str, bindings: tuple[Any, ...]) -> None:
        """Change a row, and commit that. Raises: StoreFailed."""

    def put_checkpoint(self, size: int, note: bytes) -> None:
        self._write(PUT_CHECKPOINT, (size, note))

    def keep_secret(self, name: str, value: bytes) -> None:
        self._write(KEEP_SECRET, (f"secret:{name}", value))

    def put_secret(self, name: str, value: bytes) -> None:
        self._write(PUT_SECRET, (f"secret:{name}", value))

    def put_token(self, token: Token) -> None:
        self._write(PUT_TOKEN, token_row(token))
