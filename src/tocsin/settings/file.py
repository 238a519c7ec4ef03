"""File: `tocsin.yaml` read as a whole: right, or all that is wrong with it."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from pydantic import ValidationError

from tocsin.core.engine.route import compile_policy
from tocsin.core.model.errors import Invalid
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import Policy, Route
from tocsin.core.model.rule import Rule
from tocsin.settings.build import settings_of
from tocsin.settings.document import BYTES_MAX, Document, Place, Unreadable, read_document
from tocsin.settings.environment import CHANNEL_VARIABLES, environment_settings
from tocsin.settings.explain import explain
from tocsin.settings.form import Form
from tocsin.settings.forms import FileForm
from tocsin.settings.meaning import TryChannel, channels_named, meaning_problems
from tocsin.settings.model import Secret, Settings, WebhookSettings
from tocsin.settings.problems import FOUND_MAX, Problem, WrongFile
from tocsin.settings.rule_forms import RulesFileForm
from tocsin.settings.rules import CheckQuery, Found, Part, TrySource, rules_of, sources_of
from tocsin.settings.takes import PRETENDED, Surroundings
from tocsin.settings.variables import tried

_ONLY_WHOLE = FileForm.model_fields.keys() - RulesFileForm.model_fields.keys()
"""Keys that a configuration has and a file of rules has not."""

RULES_FOLDER = "rules"

RULES_NAME = "rules.yaml"
"""What a file of rules is called that has no name."""


class _RulesFile(NamedTuple):
    """A file of rules that could be read."""

    path: Path
    source: bytes
    document: Document


def file_settings(
    path: Path,
    environment: Mapping[str, str],
    try_channel: TryChannel,
    try_source: TrySource,
    *,
    running: bool = False,
) -> Settings:
    """Read the settings of a file; the environment holds where the file says nothing.

    running: see `Surroundings`.
    Raises: WrongFile; Invalid if a variable is wrong.
    """
    base = environment_settings(environment)
    variables = [name for name in CHANNEL_VARIABLES if environment.get(name)]
    around = Surroundings(environment, path.parent, running)
    source = _bytes_of(path)
    others, unread = _read_all(rule_files(path))
    try:
        document = _document(path, source)
    except WrongFile as wrong:
        # Which sources there are is not known, but what is wrong with the form of the others is.
        raise WrongFile(path, [*wrong.problems, *unread, *_ill_formed(others, around)]) from None
    settings = _settings(path, document, around, base, variables, try_channel, try_source, others, unread)
    digest = hashlib.sha256(source)
    for one in others:
        digest.update(f"\n{one.path.name}\n".encode() + one.source)
    return msgspec.structs.replace(settings, path=path, digest=digest.hexdigest())


def rule_files(path: Path) -> list[Path]:
    """List the files of rules that belong to a configuration: `rules/*.yaml` and `*.yml` beside it, by name."""
    folder = path.parent / RULES_FOLDER
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def rules_settings(
    path: Path, settings: Settings, try_source: TrySource, *, any_source: bool = False
) -> Settings:
    """Give the settings with the rules of one file in place of all others.

    any_source: they may name sources that are not configured.
    Raises: WrongFile; Invalid if it is a whole configuration.
    """
    document = _document(path, _bytes_of(path))
    if isinstance(document.data, dict) and document.data.keys() & _ONLY_WHOLE:
        raise Invalid(
            f"{path} is a whole configuration, and no file of rules. Name the id of one of its rules instead: "
            f"RULE_ID --config {path}",
            field=str(path),
        )
    sources: dict[str, CheckQuery] = {source.name: try_source(source) for source in settings.sources}
    if any_source:
        sources = {name: lambda query: None for name in _sources_asked(document)} | sources
    found = _rules(path, document, sources)
    return msgspec.structs.replace(settings, rules=found.rules, slos=found.slos)


def rules_in(text: str, sources: Mapping[str, CheckQuery]) -> tuple[Rule, ...]:
    """Give the rules of the text of a file of rules, those of its objectives among them.

    sources: what tries a query, by the name of the source.
    Raises: WrongFile, which calls it `rules.yaml`.
    """
    path = Path(RULES_NAME)
    return _rules(path, _document(path, text.encode()), sources).rules


def _rules(path: Path, document: Document, sources: Mapping[str, CheckQuery]) -> Found:
    """Make the rules of one file. Raises: WrongFile."""
    around = Surroundings({}, path.parent, pretends=True)
    form, problems = _validated(RulesFileForm, document, around)
    found, wrong = rules_of([Part(None, document)], sources, around)
    problems += wrong[:FOUND_MAX]
    if form is None or problems:
        raise WrongFile(path, problems)
    return found


def policy_settings(path: Path) -> Settings:
    """Read a file for its policy alone: no secret is fetched, no channel is made, the environment says nothing.

    A file without channels may name any in its routes: they are those of some server, which is not asked.
    Raises: WrongFile.
    """
    document = _document(path, _bytes_of(path))
    named = [WebhookSettings(name=name, url=Secret(PRETENDED)) for name in channels_named(document)]
    around = Surroundings({}, path.parent, pretends=True)
    base = Settings(channels=tuple(named))
    return _settings(
        path, document, around, base, [], lambda channel: None, lambda source: lambda query: None
    )


def _read_all(paths: Sequence[Path]) -> tuple[list[_RulesFile], list[Problem]]:
    """Read files of rules, and say what is wrong with those that cannot be read: one does not hide the others."""
    read: list[_RulesFile] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            source = _bytes_of(path)
            read.append(_RulesFile(path, source, _document(path, source)))
        except WrongFile as wrong:
            problems += [one._replace(path=path) for one in wrong.problems]
        except Invalid as error:
            problems.append(Problem(Place(1, 1), (), str(error), path))
    return read, problems


def _ill_formed(others: Sequence[_RulesFile], around: Surroundings) -> list[Problem]:
    """Say what is wrong with the form of files of rules."""
    return [
        problem._replace(path=one.path)
        for one in others
        for problem in _validated(RulesFileForm, one.document, around)[1]
    ]


def _document(path: Path, source: bytes) -> Document:
    """Read what a file holds. Raises: WrongFile."""
    try:
        return read_document(source)
    except Unreadable as unreadable:
        raise WrongFile(
            path, [Problem(flaw.place, flaw.key, flaw.message) for flaw in unreadable.flaws]
        ) from None


def _settings(
    path: Path,
    document: Document,
    around: Surroundings,
    base: Settings,
    variables: list[str],
    try_channel: TryChannel,
    try_source: TrySource,
    others: Sequence[_RulesFile] = (),
    unread: Sequence[Problem] = (),
) -> Settings:
    """Make the settings of a file that is read.

    others: files of rules that belong to it; unread: what is wrong with those that could not be read.
    Raises: WrongFile.
    """
    form, problems = _validated(FileForm, document, around)
    problems += islice(meaning_problems(document, around, base, variables, try_channel), FOUND_MAX)
    problems += [*unread, *_ill_formed(others, around)]
    parts = [Part(None, document), *(Part(one.path, one.document) for one in others)]
    sources, wrong = sources_of(document, around, try_source)
    found, more = rules_of(parts, sources, around)
    problems += [*wrong, *more][:FOUND_MAX]
    if form is None or problems:
        raise WrongFile(path, problems)
    settings = settings_of(form, tried(base, try_channel))
    _compile(settings, path, document)
    return msgspec.structs.replace(settings, rules=found.rules, slos=found.slos)


FormOf = TypeVar("FormOf", bound=Form)


def _validated(
    kind: type[FormOf], document: Document, around: Surroundings
) -> tuple[FormOf | None, list[Problem]]:
    problems = [Problem(flaw.place, flaw.key, flaw.message) for flaw in document.flaws]
    try:
        return kind.model_validate(document.data, context=around), problems
    except ValidationError as error:
        # What stands in the file may be a secret, so pydantic's own words (and this exception) go no further.
        problems += [explain(one, document, kind) for one in error.errors(include_url=False)[:FOUND_MAX]]
        return None, problems


def _sources_asked(document: Document) -> list[str]:
    """Give the names of the sources that rules and objectives ask."""
    data = document.data if isinstance(document.data, dict) else {}
    listed = [
        one for section in ("rules", "slos") if isinstance(data.get(section), list) for one in data[section]
    ]
    named = [one.get("source") for one in listed if isinstance(one, dict)]
    return [name for name in named if isinstance(name, str)]


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Invalid(f"The configuration {path} cannot be read: {why}.", field=str(path)) from None


def _compile(settings: Settings, path: Path, document: Document) -> None:
    """Let the core read the policy as it will, for whatever it alone would refuse."""
    targets = tuple(
        Target(id=channel.name, channel=channel.name, address=channel.name) for channel in settings.channels
    )
    routes = settings.routes or Route(name="default")
    policy = Policy(routes=routes, targets=targets, rate_limit=settings.rate_limit, retries=settings.retries)
    try:
        compile_policy(policy, 0)
    except Invalid as error:
        place = document.values.get(("routes",), Place(1, 1))
        raise WrongFile(path, [Problem(place, ("routes",), str(error))]) from None
