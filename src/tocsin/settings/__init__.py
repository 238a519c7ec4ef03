"""Settings: what the file and the environment say, read together and frozen.

The file is `tocsin.yaml`; its reading brings pydantic and a YAML parser, so it is loaded only if there is a file.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tocsin.core.model.rule import Rule
from tocsin.settings.environment import child_environment, environment_settings, machine_environment
from tocsin.settings.model import (
    ChannelSettings,
    EmailSettings,
    HeartbeatSettings,
    HttpSettings,
    IssuerSettings,
    PrometheusSettings,
    Secret,
    Settings,
    SourceSettings,
    SqlSettings,
    TeamsSettings,
    WebhookSettings,
)
from tocsin.settings.variables import tried
from tocsin.settings.words import parse_duration, write_duration

__all__ = [
    "FILE",
    "ChannelSettings",
    "EmailSettings",
    "HeartbeatSettings",
    "HttpSettings",
    "IssuerSettings",
    "PrometheusSettings",
    "Secret",
    "Settings",
    "SourceSettings",
    "SqlSettings",
    "TeamsSettings",
    "WebhookSettings",
    "child_environment",
    "find_file",
    "machine_environment",
    "parse_duration",
    "read_policy_settings",
    "read_rules",
    "read_rules_text",
    "read_settings",
    "write_duration",
]

FILE = "tocsin.yaml"
"""The name of the file in the data directory."""


def read_settings(
    *,
    config: Path | None = None,
    data: Path | None = None,
    environment: Mapping[str, str] | None = None,
    try_channel: Callable[[ChannelSettings], object] = lambda channel: None,
    try_source: Callable[[SourceSettings], Callable[[str], None]] = lambda source: lambda query: None,
    running: bool = False,
) -> Settings:
    """Read the settings.

    config, data: see `find_file`. environment: in place of the process's own.
    try_channel: makes a channel, to hear what is wrong with it; it raises Invalid.
    try_source: makes a source, to hear what is wrong with it, and gives what tries a query; both raise Invalid.
    running: a server reads them anew.
    Raises: Invalid naming the variable that is wrong, or with all errors of the file.
    """
    env = machine_environment() if environment is None else environment
    path = find_file(config, data, env)
    if path is None:
        return tried(environment_settings(env), try_channel)
    from tocsin.settings.file import file_settings

    return file_settings(path, env, try_channel, try_source, running=running)


def read_policy_settings(path: Path) -> Settings:
    """Read a file for its policy alone, see `file.policy_settings`. Raises: Invalid with all errors."""
    from tocsin.settings.file import policy_settings

    return policy_settings(path)


def read_rules(
    path: Path,
    settings: Settings,
    *,
    try_source: Callable[[SourceSettings], Callable[[str], None]] = lambda source: lambda query: None,
    any_source: bool = False,
) -> Settings:
    """Read one file of rules, in place of those of the settings.

    try_source: see `read_settings`; any_source: see `file.rules_settings`.

    Raises: Invalid with all errors.
    """
    from tocsin.settings.file import rules_settings

    return rules_settings(path, settings, try_source, any_source=any_source)


def read_rules_text(text: str, sources: Mapping[str, Callable[[str], None]]) -> tuple[Rule, ...]:
    """Read the text of a file of rules, see `file.rules_in`. Raises: Invalid with all errors."""
    from tocsin.settings.file import rules_in

    return rules_in(text, sources)


def find_file(
    config: Path | None, data: Path | None, environment: Mapping[str, str] | None = None
) -> Path | None:
    """Find the configuration: `config`, else what TOCSIN_CONFIG names, else `tocsin.yaml` in `data` if it is there."""
    env = machine_environment() if environment is None else environment
    if config is not None:
        return config
    if named := env.get("TOCSIN_CONFIG"):
        return Path(named)
    if data is None:
        return None
    try:
        return data / FILE if (data / FILE).exists() else None
    except OSError:
        return data / FILE  # Whether it is there cannot be known; reading it will say why.
