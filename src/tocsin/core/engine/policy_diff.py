"""Policy diff: what is different between two policies, in the words that an operator tunes.

Routes are compared by name and targets by channel and address, so moving one reads as a move and not as a change of
all that stands behind it. No changes means the same policy.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from tocsin.core.model.policy import Change, Policy, Route
from tocsin.core.model.silence import Matcher, show_matcher


def plain(value: Any) -> Any:
    """Give a policy or a part of it for people, as JSON has it: every field, and matchers as they are written."""
    if isinstance(value, Matcher):
        return show_matcher(value)
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {shown: plain(getattr(value, name)) for name, shown in names}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return msgspec.to_builtins(value)


def changes(before: Policy, after: Policy) -> list[Change]:
    """Give the differences: those of single settings, then routes, then targets; each in a fixed order."""
    found: list[Change] = []
    for name in Policy.__struct_fields__:
        if name not in ("routes", "targets"):
            found += _differing(name, plain(getattr(before, name)), plain(getattr(after, name)))
    if before.routes.name != after.routes.name:
        found.append(Change(path="routes", before=before.routes.name, after=after.routes.name))
    found += _named("routes", dict(_routes(before.routes)), dict(_routes(after.routes)))
    was, now = (
        {f"{target.channel} {target.address}": plain(target) for target in policy.targets}
        for policy in (before, after)
    )
    stayed = [name for name in was if name in now], [name for name in now if name in was]
    if stayed[0] != stayed[1]:
        found.append(Change(path="targets", before=stayed[0], after=stayed[1]))
    return found + _named("targets", was, now)


def _routes(route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each route of a tree by its name; of the routes below it, only their names."""
    fields = plain(msgspec.structs.replace(route, routes=()))
    yield route.name, fields | {"routes": [child.name for child in route.routes]}
    for child in route.routes:
        yield from _routes(child)


def _named(path: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    found: list[Change] = []
    for name in {**before, **after}:
        where = f"{path}[{name}]"
        if name in before and name in after:
            found += _differing(where, before[name], after[name])
        else:
            found.append(Change(path=where, before=before.get(name), after=after.get(name)))
    return found


def _differing(path: str, before: Any, after: Any) -> list[Change]:
    """Compare two plain values; objects with the same fields field by field."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            change for name in before for change in _differing(f"{path}.{name}", before[name], after[name])
        ]
    return [] if before == after else [Change(path=path, before=before, after=after)]
