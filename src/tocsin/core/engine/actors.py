"""Actors: how people call whoever the ledger names by an id: `token:f17f7f59`, `os:anna`, `jwt:anna`, `system`."""

import re
from collections.abc import Mapping

TOKEN = "token:"
_TOKENS = re.compile(r"\btoken:([0-9a-z]+)\b")


def called(actor: str, names: Mapping[str, str]) -> str:
    """Say how people call an actor: a token by its name, a user of another system as that calls them.

    names: of tokens, by their ids. One that is not among them stays as it is.
    """
    kind, colon, id_ = actor.partition(":")
    if kind == "token" and colon:
        return names.get(id_) or actor
    return id_ if kind in ("os", "jwt") and id_ else actor


def read_aloud(because: str, names: Mapping[str, str]) -> str:
    """Give the reason of an event with the names of the tokens in place of their ids."""
    return _TOKENS.sub(lambda found: names.get(found[1]) or found[0], because)
