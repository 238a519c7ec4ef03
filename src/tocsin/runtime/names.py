"""Names: how people call whoever the ledger names by an id."""

from tocsin.core.engine.actors import TOKEN, called
from tocsin.ports import Store


class Names:
    """Asks the store for the names of tokens. A token keeps its name, so that is done once for each that is new."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens: dict[str, str] = {}

    def of(self, actor: str) -> str:
        """Say how people call an actor; as it is where nobody gave it a name."""
        if actor.startswith(TOKEN) and actor.removeprefix(TOKEN) not in self._tokens:
            self.tokens()
        return called(actor, self._tokens)

    def tokens(self) -> dict[str, str]:
        """Give the names of all tokens, by their ids."""
        self._tokens = {token.id: token.name for token in self._store.tokens()}
        return self._tokens
