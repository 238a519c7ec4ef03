"""Demo: a storm of alerts, played against a real server that is killed in the middle; then the proof.

Nothing leaves this machine: mail, Teams and webhook are receivers of the demo's own. What it claims, it checks; the
exit code is 0 only if all of it held.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from tocsin.cli.exits import INTERRUPTED, UNEXPECTED, VERIFICATION_FAILED, Failure, told


@click.command()
@click.option("--keep", is_flag=True, help="Keep the directory with the data when it is over.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where the demo's server listens. Default: any free one.",
)
def demo(keep: bool, port: int) -> None:
    """See what Tocsin does, in ten seconds and without any set-up."""
    directory = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    try:
        with told():
            code = asyncio.run(_until_signal(_play(directory, port, keep)))
    finally:
        if keep:
            click.echo(f"The data is kept in {directory}.", err=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if code:
        raise click.exceptions.Exit(code)


async def _until_signal(playing: Any) -> int:
    """Run the play; a signal cancels it, so that it cleans up behind itself."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(playing)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return int(await task)
    except asyncio.CancelledError:
        click.echo("\nStopped. The server and its data are gone.", err=True)
        return INTERRUPTED


@dataclass
class Tally:
    """What the demo knows of its own play. looks: alerts by the number of the incident that they went to."""

    sent: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    looks: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0
    requests_unanswered: int = 0
    on_the_wire: int = 0
    down_s: float = 0.0

    def answered(self, alerts: list[dict[str, Any]], answer: dict[str, Any]) -> list[tuple[int, str]]:
        """Note a request's 2xx. Gives the incidents that it opened or reopened, with the service of each."""
        news = []
        for alert, result in zip(alerts, answer["results"], strict=True):
            self.sent.append((alert, result))
            for incident in result["incidents"]:
                number = incident["number"]
                self.looks[number] = self.looks.get(number, 0) + 1
                if incident["outcome"] in ("opened", "reopened"):
                    again = " again" if incident["outcome"] == "reopened" else ""
                    news.append((number, alert["scope"]["service"] + again))
        return news


async def _play(directory: Path, port: int, keep: bool) -> int:
    from tocsin.cli import demo_rule, demo_show
    from tocsin.cli.demo_check import check
    from tocsin.cli.demo_server import SECRET, DemoServer
    from tocsin.cli.demo_sinks import Mailbox, WebServer
    from tocsin.cli.demo_storm import read_storm
    from tocsin.wiring.machine import build_clock

    storm = read_storm(build_clock().now())
    stage = demo_show.Stage(alerts=len(storm), minutes=storm[-1]["at"] / 60)
    tally = Tally()
    async with Mailbox() as mailbox, WebServer() as web:
        server = DemoServer(directory, mailbox, web, port)
        try:
            api = await server.start()
            stage.begins(server.url)
            days = demo_rule.write_weather(directory, build_clock().now() / 1e6 + 1)
            api = await _storm(storm, server, api, web, tally, stage)
            incidents = await _settle(api, mailbox, web)
        finally:
            code = await server.stop()
        if code:
            raise Failure(f"The server ended with exit code {code} instead of 0.", UNEXPECTED)
    stage.incidents(incidents, tally.looks)
    stage.rule(demo_rule.of_rule(incidents), days)
    stage.channels(mailbox, web, SECRET)
    checks = check(server.data, tally, incidents, mailbox, web, SECRET)
    stage.proof(checks, server.data if keep else None)
    return 0 if all(one.held for one in checks) else VERIFICATION_FAILED


TICK_S = 0.055
KILL_AT_S = 8 * 60
"""From then on in the story, the server is killed once a notification is on the wire."""


async def _storm(
    storm: list[dict[str, Any]], server: Any, api: Any, web: Any, tally: Tally, stage: Any
) -> Any:
    """Send everything in the story's order, and kill the server on the way. Gives the client of the one that lives."""
    killed = False
    for at, requests in _ticks(storm):
        stage.at(at)
        if at >= KILL_AT_S and not killed and not web.hold.caught.is_set():
            web.hold.armed = True  # The next webhook stays without an answer: it is on the wire.
        if web.hold.caught.is_set() and not killed and sum(map(len, requests)) >= 8:
            killed = True
            api = await _kill(requests, server, api, tally, stage)
            continue
        for alerts in requests:
            stage.came_in(len(alerts), tally.answered(alerts, await _post(api, alerts)))
        await asyncio.sleep(TICK_S)
    if not killed:
        raise Failure("No notification went out in the middle of the storm, so the server was not killed.")
    return api


def _ticks(storm: list[dict[str, Any]]) -> Iterator[tuple[int, list[list[dict[str, Any]]]]]:
    """Give the story moment by moment: one request for each sender that has something to say."""
    by_at: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for line in storm:
        by_at.setdefault(line["at"], {}).setdefault(line["by"], []).append(line["alert"])
    for at, by_sender in by_at.items():
        yield at, list(by_sender.values())


async def _post(api: Any, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = await asyncio.to_thread(api.request, "POST", "/api/v1/alerts", body=alerts)
    return answer


async def _kill(requests: list[list[dict[str, Any]]], server: Any, api: Any, tally: Tally, stage: Any) -> Any:
    """Kill the server while requests are on their way, start it again, and send again what got no answer."""
    loop = asyncio.get_running_loop()
    chunks = [[alert] for alerts in requests for alert in alerts]
    asked = [asyncio.create_task(_post(api, chunk)) for chunk in chunks]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    down_since = loop.time()
    await server.kill()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    again = []
    news = []
    for chunk, answer in zip(chunks, answers, strict=True):
        if isinstance(answer, Failure):
            again.append(chunk)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            news += tally.answered(chunk, answer)
    tally.requests_unanswered, tally.unanswered = len(again), sum(map(len, again))
    tally.on_the_wire = 1
    stage.killed(len(chunks), tally)
    api = await server.start()
    tally.down_s = loop.time() - down_since
    for chunk in again:
        news += tally.answered(chunk, await _post(api, chunk))
    stage.is_back(tally)
    stage.came_in(sum(map(len, chunks)), news)
    return api


QUIET_S = 1.8
"""Longer than the group interval: nobody waits to be told any more."""

SETTLE_S = 60.0


async def _settle(api: Any, mailbox: Any, web: Any) -> list[dict[str, Any]]:
    """Wait until everybody was told everything; the incidents in full, oldest first. Raises: Failure."""
    from tocsin.cli.demo_rule import is_over

    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    begun = loop.time()
    while loop.time() < until:
        await asyncio.sleep(0.1)
        if loop.time() - max(mailbox.received_at, web.received_at, begun) < QUIET_S:
            continue
        listed = await asyncio.to_thread(api.request, "GET", "/api/v1/incidents", query={"limit": 100})
        incidents = [
            await asyncio.to_thread(api.request, "GET", f"/api/v1/incidents/{one['incident_id']}")
            for one in reversed(listed["incidents"])
        ]
        if is_over(incidents) and not any(
            one["state"] == "pending" for incident in incidents for one in incident["deliveries"]
        ):
            return incidents
    raise Failure(f"Notifications were still on their way after {SETTLE_S:.0f} s.")
