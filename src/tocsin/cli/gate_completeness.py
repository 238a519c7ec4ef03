"""Gate: notify_completeness. Is everything there, and wired to what handles it?

What there is, is read from the code's own lists and unions; nothing is counted by hand.
"""

import asyncio
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
from pydantic.fields import FieldInfo

import tocsin
from tocsin.cli import gate_tour
from tocsin.cli.gate_check import Asked, Found
from tocsin.cli.gate_house import NINE, ORIGIN, House
from tocsin.cli.main import VERBS, main
from tocsin.core.engine import explain
from tocsin.core.engine.background import Background
from tocsin.core.ledger.encoding import Entry
from tocsin.core.model.entry import KINDS
from tocsin.core.model.errors import Invalid
from tocsin.core.model.event import Decided
from tocsin.core.model.notification import DryRun, Message, Target
from tocsin.core.model.trace import Line
from tocsin.outbound import Outbound
from tocsin.ports import IncidentFilter, Store
from tocsin.runtime.replaying import Replay
from tocsin.settings import build, forms, model
from tocsin.settings.takes import Surroundings
from tocsin.web.app import build_api, permissions_of
from tocsin.wiring.outside import build_channel, build_outbound, read_configuration
from tocsin.wiring.stores import build_memory_store

SAMPLES: dict[str, Any] = {
    "host": "mail.gate.invalid",
    "sender": "gate@gate.invalid",
    "recipients": ["anna@gate.invalid"],
    "url": {"env": "URL"},
}
"""What a configuration gives for the keys that a kind of channel cannot do without; any other gets its own name."""


def completeness(asked: Asked) -> Found:
    """Load everything, and look whether each thing that there can be is handled."""
    wrong: list[str] = []
    modules = _load(wrong)
    verbs = _verbs(wrong)
    routes = len(permissions_of(build_api()))
    dialects = _dialects(wrong)
    kinds: list[str] = []
    try:
        house, *_ = gate_tour.tour()
    except Exception as error:
        wrong.append(f"the tour of all that is recorded ends early: {type(error).__name__}: {error}")
    else:
        _record(house, wrong)
        kinds = asyncio.run(_channels(house, wrong))
    configured = _configured(asked, wrong)
    said = (
        f"{modules} modules load. {len(kinds)} kinds of channels ({', '.join(kinds)}), {len(dialects)} dialect(s) of "
        f"alerts, {verbs} verbs, {routes} routes, {len(KINDS)} kinds of entries with {len(get_args(Decided))} events "
        f"have what handles them. {configured}"
    )
    if wrong:
        return Found("fail", f"{len(wrong)} things are not wired.", wrong=tuple(wrong))
    return Found("ok", said, figures={"modules": modules, "verbs": verbs, "routes": routes})


def _load(wrong: list[str]) -> int:
    """Import every module of the package; how many there are."""
    names = [found.name for found in pkgutil.walk_packages(tocsin.__path__, "tocsin.", onerror=wrong.append)]
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            wrong.append(f"module {name} does not load: {type(error).__name__}: {error}")
    return len(names)


def _verbs(wrong: list[str]) -> int:
    """Load every verb, and the verbs in it; how many can be run."""
    count = 0
    context = click.Context(main)
    for name in VERBS:
        try:
            for full, command in _within(name, main.get_command(context, name)):
                count += 1
                if command is None or not callable(command.callback) or not command.get_short_help_str():
                    wrong.append(f"verb {full} does nothing, or does not say what it does")
        except Exception as error:
            wrong.append(f"verb {name} does not load: {type(error).__name__}: {error}")
    return count


def _within(name: str, command: click.Command | None) -> Iterator[tuple[str, click.Command | None]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for inner in command.list_commands(context):
        yield from _within(f"{name} {inner}", command.get_command(context, inner))


def _dialects(wrong: list[str]) -> list[str]:
    """Find every dialect of alerts, and who speaks it: a module of the HTTP face that uses it."""
    import tocsin.intake

    names = [found.name for found in pkgutil.iter_modules(tocsin.intake.__path__)]
    faces = [module for name, module in sys.modules.items() if name.startswith("tocsin.web.")]
    for name in names:
        dialect = sys.modules.get(f"tocsin.intake.{name}")
        if dialect is None or not callable(getattr(dialect, "parse", None)):
            wrong.append(f"dialect {name} cannot be parsed")
        elif not any(_uses(face, dialect) for face in faces):
            wrong.append(f"dialect {name} is spoken by no route")
    return names


def _uses(face: ModuleType, dialect: ModuleType) -> bool:
    return any(
        value is dialect or getattr(value, "__module__", None) == dialect.__name__
        for value in vars(face).values()
    )


# Entries and events


def _record(house: House, wrong: list[str]) -> None:
    """Look whether the tour brought about everything, and whether who reads the record understands all of it."""
    store = house.store
    wrong += [f"{what} comes about in no way that the tour knows" for what in gate_tour.missing(store)]
    for entry in gate_tour.entries(store):
        wrong += _unread(entry)
    replayed = build_memory_store()
    replay = Replay(replayed, origins=[(0, ORIGIN), *store.origins()])
    try:
        for segment in store.segments():
            replay.take(segment)
        replay.end(store.head().at)
    except Exception as error:
        wrong.append(f"the record cannot be replayed: {type(error).__name__}: {error}")
    else:
        wrong += [
            f"a replay of the record gives other {what} than were written"
            for what, there, again in zip(_TABLES, _tables(store), _tables(replayed), strict=True)
            if there != again
        ]


_TABLES = ("heads", "deliveries", "incidents", "silences", "policies")


def _tables(store: Store) -> tuple[object, ...]:
    head = store.head()
    return (
        (head.size, head.root, head.counters),
        store.counts(),
        store.list_incidents(IncidentFilter(), 1000),
        store.list_silences(ended=None, after=None, limit=1000),
        store.policies(None, 1000),
    )


def _unread(entry: Entry) -> Iterator[str]:
    """Say what is wrong if whoever explains decisions does not understand an entry."""
    private = entry.private
    line = Line(
        header=entry.header,
        decision=entry.decision,
        alert=private.alert if private is not None else None,
        outcome=private.outcome if private is not None else None,
    )
    try:
        explain.explain([line], Background())
    except Exception as error:
        events = ", ".join(type(event).__name__ for event in entry.decision.events)
        yield f"an entry of kind {entry.header.kind} ({events}) cannot be explained: {type(error).__name__}: {error}"


# Channels


async def _channels(house: House, wrong: list[str]) -> list[str]:
    """Configure a channel of each kind, build it, and let it rehearse."""
    message = next(
        (said for number in range(1, 100) if (said := house.store.message(number)) is not None), None
    )
    assert message is not None, "somebody is told something in the tour"
    outbound = build_outbound(model.Settings())
    made: set[type] = set()
    known = [_kind_of(form) for form in get_args(get_args(forms.ChannelForm)[0])]
    try:
        for kind in sorted({*known, *forms.KINDS}):
            try:
                made.add(await _channel(kind, outbound, message))
            except Exception as error:
                wrong.append(f"a channel of kind {kind} cannot be built: {type(error).__name__}: {error}")
    finally:
        await outbound.close()
    wrong += [
        f"{settings.__name__} can be settled by no configuration"
        for settings in get_args(model.ChannelSettings)
        if settings not in made
    ]
    return known


async def _channel(kind: str, outbound: Outbound, message: Message) -> type:
    """Configure, build and rehearse one; the type of its settings."""
    form = next(one for one in get_args(get_args(forms.ChannelForm)[0]) if _kind_of(one) == kind)
    needs: dict[str, FieldInfo] = {name: one for name, one in form.model_fields.items() if one.is_required()}
    file = {"channels": [{**{name: SAMPLES.get(name, name) for name in needs}, "kind": kind}]}
    around = Surroundings({"URL": "https://gate.invalid/hook"}, Path())
    settings = build.settings_of(
        forms.FileForm.model_validate(file, context=around), model.Settings()
    ).channels[0]
    channel = build_channel(settings, outbound)
    try:
        if channel.kind != kind:
            raise Invalid(f"it says that it is of kind {channel.kind}")
        target = Target(id="gate", channel=channel.name, address=channel.addresses[0])
        shown = channel.render(message, target, key="00" * 32)
        outcome = await channel.send(message, target, key="00" * 32, at=NINE, dry_run=True)
        if not shown.body or not isinstance(outcome, DryRun):
            raise Invalid(f"a dry run ended with {outcome}")
    finally:
        await channel.close()
    return type(settings)


def _kind_of(form: Any) -> str:
    return str(get_args(form.model_fields["kind"].annotation)[0])


def _configured(asked: Asked, wrong: list[str]) -> str:
    """Build the channels of the configuration that is there; what to say of them."""
    try:
        settings = read_configuration(asked.config, asked.data)
    except Invalid as error:
        wrong.append(f"the configuration: {error}")
        wrong += [f"the configuration: {where}: {what}" for where, what in error.errors]
        return ""
    names = ", ".join(channel.name for channel in settings.channels)
    return (
        f"The configuration's channels can be built: {names}." if names else "No channel is configured here."
    )
