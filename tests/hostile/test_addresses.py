"""No spelling of an address, no redirect and no name that changes its mind leads Tocsin inside: not a byte is sent."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.channels.messages import AT, a_message
from tests.hostile.fuzzing import examples, texts
from tests.outbound.test_addresses import DENIED, NEVER
from tests.reliability.tally import tally
from tests.support.http_sink import HttpSink, Reply
from tests.support.smtp_sink import SmtpSink
from yarl import URL

from tocsin.channels.email import Email, EmailConfig
from tocsin.core.model.notification import Retry, Target
from tocsin.outbound import Answer, Failure, FailureKind, Outbound

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "0127.0.0.1", "0177.0.0.1", "0177.0000.0000.0001", "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1", "0x7f000001", "0X7F000001", "0x7f.1", "2130706433", "017700000001", "00000017700000001",
    "127.0.0.1.", "127.0.0.1..", "127.1.", "2130706433.", "0x7f000001.", "0", "0.0.0.0", "0.", "00", "0x0",
    "127.0.0.01", "127.0.0.0x1", "127.0.0.1%00", "127.0.0.1%20", "127.0.0.1%2e", "127%2e0%2e0%2e1", "%31%32%37.0.0.1",
    "127\u30020\u30020\u30021", "127\uff0e0\uff0e0\uff0e1", "127\uff610\uff610\uff611", "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1", "\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1", "\u0661\u0662\u0667.0.0.1", "127.0.0.\u00b9",
    "\u2488\u2489\u248e0.0.1", "127.0.0.1\u00ad", "127.0.0.1\u200b", "127.0.0.1\u2060",
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0001]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[::1%25lo]", "[::1%lo]", "[fe80::1%25eth0]",
    "[::1%251]", "[0:0:0:0:0:0:127.0.0.1]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[::ffff:0x7f.0.0.1]", "[v1.::1]",
    "localhost", "LOCALHOST", "localhost.", "localhost..", "LocalHost.", "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    "ip6-localhost", "localhost%00.example.org", "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "example.org@127.0.0.1", "example.org:80@127.0.0.1", "example.org%40127.0.0.1", "127.0.0.1%23.example.org",
    "127.0.0.1\\@example.org", "example.org\\@127.0.0.1", "1.1.1.1@127.0.0.1", "a:b@127.0.0.1", "@127.0.0.1", ":@127.0.0.1",
    "127.0.0.1#@example.org", "127.0.0.1?@example.org", "127.0.0.1 example.org", "127.0.0.1\texample.org",
    "127.0.0.1\nexample.org", "127.0.0.1\x00example.org", "1.1.1.1&@127.0.0.1#@example.org", "127.0.0.1;example.org",
    "[::1].example.org", "[127.0.0.1]", "127.0.0.1:1@1.1.1.1:99999",
]  # fmt: skip
"""Hosts of URLs that some reader takes for this machine. A port follows."""

INSIDE = [
    "10.0.0.1", "10.1", "0xa000001", "167772161", "012.0.0.1", "192.168.1.1", "192.168.257", "0xc0a80101", "3232235777",
    "172.16.0.1", "0254.020.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
    "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "100.100.100.200", "100.64.0.1",
    "168.63.129.16", "192.0.0.192", "[2002:a9fe:a9fe::]", "[64:ff9b::a9fe:a9fe]", "224.0.0.1", "255.255.255.255",
    "240.0.0.1", "198.18.0.1", "169.254.169.254.", "\uff11\uff16\uff19.254.169.254", "metadata@169.254.169.254",
]  # fmt: skip
"""Hosts that some reader takes for one of this network, or for a cloud's metadata."""

SCHEMES = ["file:///etc/passwd", "gopher://{}/_x", "dict://{}/x", "ftp://{}/", "ldap://{}/", "unix:///run/x.sock", "ws://{}/",
           "http:{}", "http:/{}/", "http:///{}/", "http:\\\\{}\\", "//{}/", "{}", "jar:http://{}!/", "data:text/plain,x",
           "http+unix://%2Frun%2Fx.sock/", "view-source:http://{}/", "\x00http://{}/", "ht\ntp://{}/"]  # fmt: skip


def ask(
    *urls: str, lookup: Any = None, sink: HttpSink | None = None
) -> tuple[HttpSink, list[Answer | Failure]]:
    """Ask each with nothing private opened. `{}` in a URL is the sink's host and port, `<port>` the port."""

    async def run() -> tuple[HttpSink, list[Answer | Failure]]:
        outbound = Outbound(lookup=lookup)
        try:
            async with sink or HttpSink() as listening:
                found = [
                    await outbound.post(
                        url.replace("{}", f"127.0.0.1:{listening.port}").replace("<port>", str(listening.port)),
                        body=b"s3cret", headers={}, timeout_s=2,
                    )
                    for url in urls
                ]  # fmt: skip
                return listening, found
        finally:
            await outbound.close()

    return asyncio.run(run())


async def no_names(host: str, port: int) -> Sequence[str]:
    """A name server that gives this machine for every name: whatever reaches it is refused for what it is."""
    return ["127.0.0.1"]


def test_no_spelling_of_this_machine_is_connected_to() -> None:
    sink, found = ask(*(f"http://{host}:<port>/" for host in LOOPBACK), lookup=no_names)

    refused = dict(zip(LOOPBACK, found, strict=True))
    for host, answer in refused.items():
        assert isinstance(answer, Failure), host
        assert answer.kind in (FailureKind.FORBIDDEN, FailureKind.INVALID_URL), (host, answer)
    assert sink.connections == 0
    tally("denied spellings of an address", spellings=len(LOOPBACK))


def test_no_name_of_this_machine_is_connected_to_by_the_systems_own_resolver() -> None:
    names = [host for host in LOOPBACK if "local" in host.lower() and "%" not in host]
    sink, found = ask(*(f"http://{host}:<port>/" for host in names))

    assert all(isinstance(answer, Failure) for answer in found)
    assert sink.connections == 0


def test_no_spelling_of_an_address_inside_is_connected_to() -> None:
    _, found = ask(*(f"http://{host}/" for host in INSIDE), lookup=no_names)

    for host, answer in zip(INSIDE, found, strict=True):
        assert isinstance(answer, Failure), host
        assert answer.kind in (FailureKind.FORBIDDEN, FailureKind.INVALID_URL), (host, answer)
    tally("denied spellings of an address", spellings=len(INSIDE))


def test_every_denied_address_is_denied_as_a_literal_and_as_what_a_name_leads_to() -> None:
    """The same table as the guard's own, but by way of the client."""
    addresses = [address for address in {*DENIED, *NEVER} if "%" not in address]
    for address in sorted(addresses):
        literal = f"[{address}]" if ":" in address else address

        async def lookup(host: str, port: int, address: str = address) -> Sequence[str]:
            return [address]

        _, found = ask(f"http://{literal}/", "http://name.test/", lookup=lookup)
        for answer in found:
            assert isinstance(answer, Failure), address
            assert answer.kind is FailureKind.FORBIDDEN, (address, answer)
    assert len(addresses) >= 60
    tally("denied addresses", addresses=len(addresses))


@pytest.mark.parametrize("url", SCHEMES)
def test_no_other_scheme_is_spoken(url: str) -> None:
    sink, [answer] = ask(url)

    assert isinstance(answer, Failure)
    assert answer.kind in (FailureKind.INVALID_URL, FailureKind.FORBIDDEN)
    assert sink.connections == 0


@pytest.mark.parametrize("answers", [
    ["1.1.1.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["1.1.1.1"] * 50 + ["10.0.0.1"], ["2606:4700:4700::1111", "::1"],
    ["8.8.8.8", "::ffff:127.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["fe80::1%eth0"], ["127.0.0.1%lo"],
], ids=str)  # fmt: skip
def test_one_answer_inside_condemns_the_name(answers: list[str]) -> None:
    async def lookup(host: str, port: int) -> Sequence[str]:
        return answers

    sink, [answer] = ask("http://mixed.test:<port>/", lookup=lookup)

    assert isinstance(answer, Failure)
    assert sink.connections == 0


@pytest.mark.parametrize(
    "answers", [["0wned"], [""], ["1.1.1.1\x00127.0.0.1"], ["2130706433"], ["127.1"]], ids=repr
)
def test_an_answer_that_is_no_address_is_a_failure(answers: list[str]) -> None:
    async def lookup(host: str, port: int) -> Sequence[str]:
        return answers

    sink, [answer] = ask("http://strange.test:<port>/", lookup=lookup)

    assert isinstance(answer, Failure)
    assert sink.connections == 0


def test_a_name_that_is_public_when_it_is_checked_and_private_when_it_is_connected_to_is_asked_once() -> None:
    asked: list[str] = []

    async def lookup(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    async def run() -> tuple[HttpSink, Answer | Failure, str]:
        outbound = Outbound(("127.0.0.2/32",), lookup=lookup)  # plays the public one; nobody listens there
        try:
            async with HttpSink() as sink:
                url = sink.url(host="rebind.test")
                first = await outbound.post(url, body=b"s3cret", headers={}, timeout_s=2)
                probed = await outbound.probe(url, timeout_s=2)
                return sink, first, "" if probed is None else probed.why
        finally:
            await outbound.close()

    sink, first, probed = asyncio.run(run())

    assert isinstance(first, Failure)
    assert first.kind is FailureKind.CONNECT
    assert "not on the public internet" in probed
    assert len(asked) == 2, "each of the two asked once"
    assert sink.connections == 0


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_inside_is_not_followed(status: int) -> None:
    async def run() -> tuple[HttpSink, Answer | Failure]:
        async with HttpSink() as inside:
            front = HttpSink(
                Reply(status=status, headers={"Location": inside.url("/s3cret"), "Refresh": "0"})
            )
            async with front:
                outbound = Outbound(("127.0.0.0/8",))
                try:
                    return inside, await outbound.post(front.url(), body=b"x", headers={}, timeout_s=2)
                finally:
                    await outbound.close()

    inside, answer = asyncio.run(run())

    assert isinstance(answer, Answer)
    assert inside.connections == 0


def test_a_relay_inside_hears_nothing_whatever_its_name_leads_to() -> None:
    async def run() -> tuple[SmtpSink, list[Any]]:
        found = []
        async with SmtpSink() as sink:
            for host, answers in (
                ("127.0.0.1", None),
                ("relay.test", ["1.1.1.1", "127.0.0.1"]),
                ("relay.test", ["::1"]),
            ):

                async def lookup(host: str, port: int, answers: Any = answers) -> Sequence[str]:
                    return answers or [host]

                outbound = Outbound(lookup=lookup)
                config = EmailConfig(name="m", host=host, port=sink.port, sender="t@x.org", recipients=("a@x.org",),
                                     tls="none", timeout_s=2.0)  # fmt: skip
                via = Email(config, resolve=outbound.addresses)
                target = Target(id="t", channel="m", address="a@x.org")
                found.append(await via.send(a_message(), target, key="5f" * 32, at=AT, dry_run=False))
                await via.close()
                await outbound.close()
            return sink, found

    sink, found = asyncio.run(run())

    assert all(isinstance(outcome, Retry) for outcome in found)
    assert sink.connections == 0
    assert sink.heard_in_clear == b""


@examples(200)
@given(
    st.one_of(
        texts,
        st.integers(0, 2**32 - 1).map(str),
        st.from_regex(r"\A(0x?)?[0-9a-f]{1,9}(\.(0x?)?[0-9a-f]{1,4}){0,3}\.?\Z"),
    )
)
def test_any_host_that_is_not_written_as_a_public_address_is_refused(host: str) -> None:
    """A name server that gives a private address for everything: what connects has been taken for a literal."""
    assume(not is_public(host))  # Nothing in these tests shall reach out.

    sink, [answer] = ask(f"http://{host}/", lookup=no_names, sink=HttpSink())

    assert isinstance(answer, Failure)
    assert answer.kind in (FailureKind.FORBIDDEN, FailureKind.INVALID_URL), (host, answer)
    assert sink.connections == 0


def is_public(host: str) -> bool:
    """Whether a URL with this behind its two slashes leads to a literal address that is public, in the usual form."""
    try:
        return ip_address(URL(f"http://{host}/").raw_host or "").is_global
    except ValueError:
        return False
