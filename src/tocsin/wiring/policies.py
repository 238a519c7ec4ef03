"""Policies: what the settings make of routes and targets."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, Policy, Route
from tocsin.ports import Channel
from tocsin.runtime.house import House
from tocsin.settings import EmailSettings, Settings, read_policy_settings
from tocsin.wiring.stores import build_memory_store


def build_policy(settings: Settings, channels: Mapping[str, Channel], id_key: bytes) -> Policy:
    """Make the policy: the routes that are configured, or one that tells every channel."""
    targets = tuple(
        Target(id=target_id(channel.name, address, id_key), channel=channel.name, address=address)
        for channel in channels.values()
        for address in channel.addresses
    )
    return policy_of(settings, targets)


def policy_of(settings: Settings, targets: tuple[Target, ...]) -> Policy:
    """Make the policy with these targets."""
    return Policy(
        routes=settings.routes or Route(name="default", group_by=(ALL_LABELS,)),
        targets=targets,
        rate_limit=settings.rate_limit,
        retries=settings.retries,
        keep=settings.keep,
    )


def read_candidate(path: Path) -> tuple[Policy, bool]:
    """Read a configuration for the policy that it would bring, and say whether it has targets of its own.

    No secret is fetched and no channel is made. The targets' ids are good for nothing but to tell them apart.
    Raises: Invalid with all errors.
    """
    settings = read_policy_settings(path)
    return policy_of(settings, _targets_named(settings)), settings.channels_in_file


def build_house(settings: Settings, at: int) -> House:
    """Make a house in memory that begins at a moment and goes by the policy of these settings. It tells nobody."""
    policy = policy_of(settings, _targets_named(settings))
    return House(policy, build_memory_store(), at=at, origin="tocsin-backtest")


def _targets_named(settings: Settings) -> tuple[Target, ...]:
    """Give the targets as the settings name them; no channel is made, and the ids only tell them apart."""
    return tuple(
        Target(id=target_id(channel.name, address, b"candidate"), channel=channel.name, address=address)
        for channel in settings.channels
        for address in (channel.recipients if isinstance(channel, EmailSettings) else (channel.name,))
    )


def target_id(channel: str, address: str, id_key: bytes) -> str:
    """Name a target by a keyed digest (16 hex digits) of its channel and address."""
    return hashlib.blake2b(f"{channel}\n{address}".encode(), key=id_key, digest_size=8).hexdigest()
