"""How the tests of sources ask them."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tocsin.core.model.rule import Ask, Series
from tocsin.ports import Source, SourceFailed

SECOND = 1_000_000
HOUR = 3_600 * SECOND


def at(text: str) -> int:
    """Give a moment of ISO 8601, UTC if it says nothing else, in microseconds."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * SECOND)


NOON = at("2026-11-18T12:00:00")


def an_ask(query: str, *, since: int = NOON - HOUR, until: int = NOON, **more: Any) -> Ask:
    return Ask(name="q", query=query, since=since, until=until, **more)


def ask(source: Source, *asks: Ask | str) -> list[tuple[Series, ...] | SourceFailed]:
    """Ask one after another, and give what each was answered, which may be a failure."""

    async def run() -> list[tuple[Series, ...] | SourceFailed]:
        try:
            answers: list[tuple[Series, ...] | SourceFailed] = []
            for one in asks:
                try:
                    answers.append(await source.ask(an_ask(one) if isinstance(one, str) else one))
                except SourceFailed as failed:
                    answers.append(failed)
            return answers
        finally:
            await source.close()

    return asyncio.run(run())


def failure(source: Source, asked: Ask | str) -> SourceFailed:
    """Give why a question fails, which it must; it is told in whole sentences."""
    (answer,) = ask(source, asked)
    assert isinstance(answer, SourceFailed), answer
    assert re.fullmatch(r".*([^.!:][.]|[?…])", str(answer)), answer
    return answer


def rows(source: Source, asked: Ask | str) -> list[tuple[dict[str, str], float]]:
    """Give the labels and values of all points of an answer, which there must be."""
    (answer,) = ask(source, asked)
    assert not isinstance(answer, SourceFailed), answer
    return [(series.labels, point.value) for series in answer for point in series.points]


def messages(answers: Sequence[object]) -> list[str]:
    return [str(answer) for answer in answers if isinstance(answer, SourceFailed)]
