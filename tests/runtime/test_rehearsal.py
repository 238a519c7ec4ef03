"""A channel in rehearsal does all that the channel does, but the sending."""

import asyncio

from tests.channels.messages import a_message
from tests.support.http_sink import HttpSink

from tocsin.channels.webhook import Webhook, WebhookConfig
from tocsin.core.model.notification import DryRun, Target
from tocsin.outbound import Outbound
from tocsin.ports import Reachable
from tocsin.runtime.rehearsal import Rehearsal


def test_nothing_is_sent_and_everything_else_is_as_it_is() -> None:
    async def scenario() -> None:
        async with HttpSink() as sink:
            outbound = Outbound(allow_private=("127.0.0.0/8",))
            real = Webhook(WebhookConfig(name="hook", url=sink.url("/in")), outbound)
            rehearsal = Rehearsal(real)
            target = Target(id="t", channel="hook", address="hook")

            outcome = await rehearsal.send(a_message(), target, key="k", at=0, dry_run=False)

            assert isinstance(outcome, DryRun)
            assert sink.requests == []
            assert isinstance(rehearsal, Reachable)
            assert await rehearsal.probe() == ""
            assert (rehearsal.name, rehearsal.kind, rehearsal.addresses) == ("hook", "webhook", ("hook",))
            assert rehearsal.render(a_message(), target, key="k") == real.render(a_message(), target, key="k")
            await outbound.close()

    asyncio.run(scenario())
