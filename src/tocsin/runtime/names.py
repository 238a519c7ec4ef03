"""Names: how people call whoever the ledger names by an id.

What is decided and kept holds ids alone; names are put in when it is shown or sent.
"""

import msgspec

from tocsin.core.engine.actors import TOKEN, called, read_aloud
from tocsin.core.model.notification import Message
from tocsin.ports import Store


class Names:
    """Asks the store for the names of tokens. A token keeps its name, so that is done once for each that is new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens: dict[str, str] = {}

    def of(self, actor: str) -> str:
        """Say how people call an actor; as it is where nobody gave it a name. Raises: StoreFailed."""
        if actor.startswith(TOKEN) and actor.removeprefix(TOKEN) not in self._tokens:
            self.tokens()
        return called(actor, self._tokens)

    def tokens(self) -> dict[str, str]:
        """Give the names of all tokens, by their ids. Raises: StoreFailed."""
        self._tokens = {token.id: token.name for token in self._store.tokens()}
        return self._tokens

    def put_into(self, message: Message) -> Message:
        """Give a message as people are to read it. Raises: StoreFailed."""
        view = message.incident
        if view is not None and view.acked_by:
            view = msgspec.structs.replace(view, acked_by_name=self.of(view.acked_by))
        text = read_aloud(message.text, self.tokens()) if TOKEN in message.text else message.text
        return msgspec.structs.replace(message, text=text, incident=view)


def names_somebody(message: Message) -> bool:
    """Say whether there is a name to put into a message."""
    return TOKEN in message.text or (message.incident is not None and bool(message.incident.acked_by))
