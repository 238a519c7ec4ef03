"""Only the public internet is reachable, whatever disguise an address wears; metadata never is."""

from ipaddress import ip_address

import pytest

from tocsin.core.model.errors import Invalid
from tocsin.outbound import address_is_allowed, is_never_allowed, networks_of

ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.9.9.9",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.1",
    "11.0.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "203.0.112.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:800::200e",
    "2400:cb00::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2001:0:808:808:0:ffff:f7f7:f7f7",
]

DENIED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "::ffff:0.0.0.0",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "100::1",
    "2001:db8::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    "fe80::1",
    "fe80::1%eth0",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::100.64.0.1",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1:7f00:0:100::",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:c0a8:101::1",
    "2002:6440:1::1",
    "2001:0:808:808:0:ffff:80ff:fffe",
    "2001:0:7f00:1:0:ffff:f7f7:f7f7",
    "2a00:1450::5efe:10.0.0.1",
    "2a00:1450::200:5efe:127.0.0.1",
    "4000::1",
]

NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.42.42",
    "169.254.1.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "ff02::1",
    "::",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:808:808:0:ffff:5601:5601",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "::ffff:100.100.100.200",
    "2a00:1450::5efe:169.254.169.254",
    "::ffff:0:169.254.169.254",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_a_public_address_is_allowed(text):
    assert address_is_allowed(ip_address(text))


@pytest.mark.parametrize("text", DENIED)
def test_any_other_address_is_denied(text):
    assert not address_is_allowed(ip_address(text))


@pytest.mark.parametrize("text", NEVER)
def test_metadata_link_local_and_multicast_are_denied_even_if_everything_is_allowed(text):
    everything = networks_of(("0.0.0.0/0", "::/0"))

    assert is_never_allowed(ip_address(text))
    assert not address_is_allowed(ip_address(text), everything)


@pytest.mark.parametrize(
    ("cidr", "text", "allowed"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3", True),
        ("10.0.0.0/8", "192.168.1.1", False),
        ("127.0.0.1/32", "127.0.0.1", True),
        ("127.0.0.1/32", "127.0.0.2", False),
        ("127.0.0.1/32", "::1", False),
        ("127.0.0.0/8", "::127.0.0.1", False),  # the outer address is no public one either
        ("::1/128", "::1", True),
        ("fd00::/8", "fd12::1", True),
        ("100.64.0.0/10", "100.64.0.1", True),
        ("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", True),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", False),  # what it carries is private
    ],
)
def test_an_operator_opens_a_network_and_no_more(cidr, text, allowed):
    assert address_is_allowed(ip_address(text), networks_of((cidr,))) is allowed


def test_the_table_is_long_enough_to_mean_something():
    assert len({*ALLOWED, *DENIED, *NEVER}) >= 100


def test_a_network_that_is_none_is_refused_by_name():
    with pytest.raises(Invalid, match=r"10\.0\.0\.1/8") as caught:
        networks_of(("192.168.0.0/16", "10.0.0.1/8"))

    assert caught.value.field == "allow_private[1]"
