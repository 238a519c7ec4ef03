"""Trial: what rules see at one moment. Nobody is told, and nothing is remembered."""

import asyncio
from collections.abc import Mapping

import msgspec

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Rule
from tocsin.core.rules.glance import Glance, glance
from tocsin.ports import Source, SourceFailed
from tocsin.runtime.evaluator import ask


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule sees at a moment. glances: its scopes; failure: why there is no answer, "" if there is one."""

    rule: Rule
    at: int
    glances: tuple[Glance, ...] = ()
    failure: str = ""


async def trial(rule: Rule, at: int, sources: Mapping[str, Source]) -> Trial:
    """Look at a rule once."""
    try:
        answers = await ask(rule, at, sources)
        return Trial(rule=rule, at=at, glances=await asyncio.to_thread(glance, rule, at, answers))
    except (SourceFailed, Invalid) as error:
        return Trial(rule=rule, at=at, failure=str(error))
