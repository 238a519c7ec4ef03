"""Which addresses Tocsin may connect to, whatever spelling or tunnel they come in."""

import ipaddress
from collections.abc import Sequence

from tocsin.core.model.errors import Invalid

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
Address = IPv4 | IPv6
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*blocks: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(block) for block in blocks)


NEVER = _networks(
    "0.0.0.0/8",  # "this host": Linux connects it to the loopback
    "169.254.0.0/16",  # link-local, and with it most clouds' metadata (169.254.169.254, .170.2, .42.42)
    "100.100.100.200/32",  # Alibaba metadata
    "168.63.129.16/32",  # Azure's wire server, an address that looks public
    "192.0.0.192/32",  # Oracle metadata, older
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "fe80::/10",
    "fd00:ec2::/32",  # AWS metadata and its neighbours
    "fd20:ce::254/128",  # Google metadata
    "fd00:c1::a9fe:a9fe/128",  # Oracle metadata
    "fd00:42::42/128",  # Scaleway metadata
    "ff00::/8",
)
"""Metadata services, link-local, multicast: no setting opens these."""

NOT_PUBLIC = _networks(
    # IANA's special-purpose registries (RFC 6890 and its updates). Written out because what Python's
    # `is_global` answers differs between its versions, and is True for some of these.
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
)
"""What is inside 0.0.0.0/0 and 2000::/3 and still not on the public internet."""

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 given out to the public; so ::1, fc00::/7, fec0::/10, 100::/64... need no entry."""

_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_IPV4_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_TUNNELS = (_NAT64, ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
"""NAT64, 6to4, Teredo: as public as the IPv4 addresses that they carry."""


def _carried(address: IPv6) -> tuple[IPv4, ...]:
    """The IPv4 addresses inside an IPv6 address, in every reading that some router may have of it."""
    low = int(address)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # (server, client)
    if low in (0, 1):
        return ()  # :: and ::1 look like IPv4-compatible addresses, but are themselves.
    if address in _NAT64 or address in _IPV4_COMPATIBLE or address in _IPV4_TRANSLATED:
        return (IPv4(low & 0xFFFF_FFFF),)
    if address in _NAT64_LOCAL:
        # RFC 6052 puts the address elsewhere for each prefix length, and skips bits 64 to 71.
        bits_48 = (low >> 64 & 0xFFFF) << 16 | (low >> 40 & 0xFFFF)
        bits_56 = (low >> 64 & 0xFF) << 24 | (low >> 32 & 0xFF_FFFF)
        bits_64 = low >> 24 & 0xFFFF_FFFF
        readings = (bits_48, bits_56, bits_64, low & 0xFFFF_FFFF)
        # A reading of 0.x.x.x is another prefix length's padding.
        return tuple(IPv4(reading) for reading in readings if reading >> 24)
    if low >> 32 & 0xFDFF_FFFF == 0x0000_5EFE:  # ISATAP, RFC 5214
        return (IPv4(low & 0xFFFF_FFFF),)
    return ()


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6):
        if any(address in tunnel for tunnel in _TUNNELS):
            return True  # The addresses that it carries decide.
        if address not in GLOBAL_UNICAST:
            return False
    return address.is_global and not any(address in network for network in NOT_PUBLIC)


def _faces(address: Address) -> tuple[Address, ...]:
    """The address, and whatever it may turn into on the way."""
    if isinstance(address, IPv6):
        if address.ipv4_mapped is not None:
            return (address.ipv4_mapped,)
        return address, *_carried(address)
    return (address,)


def is_never_allowed(address: Address) -> bool:
    """Whether it is, or carries, a metadata, link-local or multicast address, which no setting opens."""
    return any(face in network for face in _faces(address) for network in NEVER)


def address_is_allowed(address: Address, allow_private: Sequence[Network] = ()) -> bool:
    """Whether Tocsin may connect to it.

    Allowed is what is on the public internet or inside `allow_private`; an IPv6 address that carries IPv4
    addresses needs that of itself and of each of them.
    """
    return not is_never_allowed(address) and all(
        _is_public(face) or any(face in network for network in allow_private) for face in _faces(address)
    )


def networks_of(cidrs: Sequence[str]) -> tuple[Network, ...]:
    """Parse CIDRs such as `10.0.0.0/8`. Raises: Invalid, naming the first that is not one."""
    found: list[Network] = []
    for index, cidr in enumerate(cidrs):
        try:
            found.append(ipaddress.ip_network(cidr.strip()))
        except ValueError as error:
            raise Invalid(
                f"allow_private holds {cidr!r}, which is not a network ({error}). Write it like 10.0.0.0/8.",
                field=f"allow_private[{index}]",
            ) from None
    return tuple(found)
