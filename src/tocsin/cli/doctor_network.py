"""The doctor abroad: the settings, every channel's name and the way to it, and the server that runs."""

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.cli.client import find_server
from tocsin.cli.doctor_check import Check, checked
from tocsin.cli.exits import Failure
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.rule import Rule
from tocsin.outbound import Outbound
from tocsin.ports import Channel, Reachable, SourceFailed
from tocsin.runtime.evaluator import ask
from tocsin.settings import read_settings
from tocsin.wiring.machine import build_clock
from tocsin.wiring.outside import build_channels, build_outbound, build_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tocsin.ports import Source
    from tocsin.settings import Settings

PATIENCE_S = 15.0
"""So long, all together, for one channel."""


def look(data: Path, url: str | None, token: str | None, config: Path | None) -> list[Check]:
    """Look at the settings, the channels that they name, and the server."""
    try:
        settings = read_settings(config=config, data=data)
        checks = asyncio.run(abroad(settings))
    except TocsinError as error:
        checks = [Check("settings", "fail", str(error), "Mend it; until then, no channel can be tried.")]
    return [*checks, checked("server", lambda: server(data, url, token))]


async def abroad(settings: "Settings") -> list[Check]:
    """Look at everything that the settings name."""
    return [*await channels(settings), *await sources(settings)]


async def sources(settings: "Settings") -> list[Check]:
    """Let every source answer one of the rules that ask it, as in a look that nobody hears of."""
    outbound = build_outbound(settings)
    built = build_sources(settings, outbound)
    rules = {rule.source: rule for rule in reversed(settings.rules) if rule.enabled}
    try:
        return list(await asyncio.gather(*(_source(name, rules.get(name), built) for name in built)))
    finally:
        for source in built.values():
            await source.close()
        await outbound.close()


async def _source(name: str, rule: Rule | None, built: "Mapping[str, Source]") -> Check:
    way = f"source {name}"
    if rule is None:
        return Check(way, "skipped", "It is not tried: no rule asks it.")
    try:
        answers = await ask(rule, build_clock().now(), built)
    except SourceFailed as error:
        if not error.is_away:
            said = f"It answers, but not rule {rule.rule_id}: {error}"
            return Check(
                way, "fail", said, f"Only this rule is not looked at: tocsin rule test {rule.rule_id}"
            )
        step = f"Its rules are not looked at until it answers. Try it: tocsin rule test {rule.rule_id}"
        return Check(way, "fail", f"It does not answer rule {rule.rule_id}: {error}", step)
    count = sum(map(len, answers.values()))
    return Check(way, "ok", f"It answers rule {rule.rule_id}, with {count} series.")


async def channels(settings: "Settings") -> list[Check]:
    """Look at the way to each channel, and to whoever else is asked over the network; the first check names them."""
    outbound = build_outbound(settings)
    built = build_channels(settings, outbound)
    ways = [_channel(channel) for channel in built.values()]
    if settings.issuer is not None and settings.issuer.jwks_url:
        ways.append(_url("issuer", settings.issuer.jwks_url, outbound))
    if settings.heartbeat is not None:
        ways.append(_url("heartbeat", settings.heartbeat.url.value, outbound))
    try:
        found = await asyncio.gather(*ways)
    finally:
        for channel in built.values():
            await channel.close()
        await outbound.close()
    return [_named(settings, list(built)), *(check for some in found for check in some)]


def _named(settings: "Settings", names: list[str]) -> Check:
    where = "The environment" if settings.path is None else str(settings.path)
    if names:
        return Check("settings", "ok", f"{where} can be read and names the channels {', '.join(names)}.")
    said = f"{where} names no channel, so nobody would be told anything."
    return Check("settings", "warn", said, "If the server has other settings, run this with them.")


async def _url(name: str, url: str, outbound: Outbound) -> list[Check]:
    failure = await outbound.probe(url, timeout_s=PATIENCE_S)
    if failure is not None:
        return [Check(f"egress {name}", "fail", failure.why, "Look at its URL, and at the way to it.")]
    return [Check(f"egress {name}", "ok", "It can be reached; nothing was asked of it.")]


async def _channel(channel: Channel) -> list[Check]:
    """Resolve the name, then take the way that a delivery takes, without delivering."""
    way = f"{'smtp' if channel.kind == 'email' else 'egress'} {channel.name}"
    if not isinstance(channel, Reachable):
        return [
            Check(
                way,
                "skipped",
                "It is not tried: it only rehearses, or can only be tried by sending.",
                _try_it(channel),
            )
        ]
    checks = [await _name(channel.name, channel.host)]
    try:
        async with asyncio.timeout(PATIENCE_S):
            why = await channel.probe()
    except TimeoutError:
        why = f"{channel.host} did not answer within {PATIENCE_S:.0f} s."
    if why:
        return [*checks, Check(way, "fail", why, f"Until it is mended, what is for {channel.name} waits.")]
    if channel.doubts:
        return [*checks, Check(way, "warn", " ".join(channel.doubts))]
    return [*checks, Check(way, "ok", f"{channel.host} can be reached; nothing was sent.", _try_it(channel))]


def _try_it(channel: Channel) -> str:
    return f"To send a test: tocsin channel test {channel.name}"


async def _name(name: str, host: str) -> Check:
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no answer"
        step = "Look at the name, and at the resolver."
        return Check(f"dns {name}", "fail", f"{host} cannot be resolved: {why}.", step)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    return Check(f"dns {name}", "ok", f"{host} leads to {', '.join(addresses[:4])}.")


def server(data: Path, url: str | None, token: str | None) -> Check:
    """Ask the server whether it lives and whether it accepts."""
    try:
        found = find_server(data, url, token)
        if found is None:
            step = f"Start it: tocsin serve --data {data}"
            return Check("server", "skipped", f"No server runs on {data}.", step)
        found.request("GET", "/healthz")
        found.request("GET", "/readyz")
    except Failure as failure:
        why = failure.problem.get("why") or failure.message
        return Check("server", "fail", str(why), "Read its log.")
    return Check("server", "ok", f"{found.url} lives and accepts.")
