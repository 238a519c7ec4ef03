"""What speaks SMTP instead of HTTP asks the same guard."""

import asyncio
from collections.abc import Sequence

import pytest

from tocsin.outbound import Outbound


def addresses(host: str, answers: Sequence[str], allow: Sequence[str] = ()) -> list[str]:
    async def lookup(host: str, port: int) -> Sequence[str]:
        return answers

    return asyncio.run(Outbound(allow, lookup=lookup).addresses(host, 25))


def test_a_public_name_gives_its_addresses_in_order():
    assert addresses("mail.example.org", ["8.8.8.8", "1.1.1.1"]) == ["8.8.8.8", "1.1.1.1"]


def test_one_private_address_condemns_the_name():
    with pytest.raises(OSError, match=r"10\.0\.0\.7"):
        addresses("mail.example.org", ["8.8.8.8", "10.0.0.7"])


def test_a_private_relay_can_be_allowed():
    assert addresses("relay", ["10.0.0.7"], ["10.0.0.0/8"]) == ["10.0.0.7"]


def test_a_literal_address_is_checked_too():
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        asyncio.run(Outbound().addresses("127.0.0.1", 25))
