"""File: `tocsin.yaml` read as a whole: right, or all that is wrong with it."""

import hashlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import msgspec
from pydantic import ValidationError

from tocsin.core.engine.route import compile_policy
from tocsin.core.model.errors import Invalid
from tocsin.core.model.notification import Target
from tocsin.core.model.policy import Policy, Route
from tocsin.settings.build import settings_of
from tocsin.settings.document import BYTES_MAX, Document, Place, Unreadable, read_document
from tocsin.settings.environment import CHANNEL_VARIABLES, environment_settings
from tocsin.settings.explain import explain
from tocsin.settings.forms import FileForm
from tocsin.settings.meaning import TryChannel, channels_named, meaning_problems
from tocsin.settings.model import Secret, Settings, WebhookSettings
from tocsin.settings.problems import FOUND_MAX, Problem, WrongFile
from tocsin.settings.takes import PRETENDED, Surroundings
from tocsin.settings.variables import tried


def file_settings(
    path: Path, environment: Mapping[str, str], try_channel: TryChannel, *, running: bool = False
) -> Settings:
    """Read the settings of a file; the environment holds where the file says nothing.

    running: see `Surroundings`.
    Raises: WrongFile; Invalid if a variable is wrong.
    """
    base = environment_settings(environment)
    variables = [name for name in CHANNEL_VARIABLES if environment.get(name)]
    around = Surroundings(environment, path.parent, running)
    source, document = _read(path)
    settings = _settings(path, document, around, base, variables, try_channel)
    return msgspec.structs.replace(settings, path=path, digest=hashlib.sha256(source).hexdigest())


def policy_settings(path: Path) -> Settings:
    """Read a file for its policy alone: no secret is fetched, no channel is made, the environment says nothing.

    A file without channels may name any in its routes: they are those of some server, which is not asked.
    Raises: WrongFile.
    """
    _, document = _read(path)
    named = [WebhookSettings(name=name, url=Secret(PRETENDED)) for name in channels_named(document)]
    around = Surroundings({}, path.parent, pretends=True)
    return _settings(path, document, around, Settings(channels=tuple(named)), [], lambda channel: None)


def _read(path: Path) -> tuple[bytes, Document]:
    source = _bytes_of(path)
    try:
        return source, read_document(source)
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
) -> Settings:
    problems = [Problem(flaw.place, flaw.key, flaw.message) for flaw in document.flaws]
    form = None
    try:
        form = FileForm.model_validate(document.data, context=around)
    except ValidationError as error:
        # What stands in the file may be a secret, so pydantic's own words (and this exception) go no further.
        problems += [explain(one, document) for one in error.errors(include_url=False)[:FOUND_MAX]]
    problems += islice(meaning_problems(document, around, base, variables, try_channel), FOUND_MAX)
    if form is None or problems:
        raise WrongFile(path, problems)
    settings = settings_of(form, tried(base, try_channel))
    _compile(settings, path, document)
    return settings


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
