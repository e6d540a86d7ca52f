"""Which IP addresses are public: only to these may a stranger send the service.

The rule is a list of what is let through, not of what is held back: of IPv6 only 2000::/3, the one block that is
given out, and of that, as of IPv4, nothing that the registries of special purposes (RFC 6890) name for anything but
the open internet. Python's own `ipaddress.is_global` differs between versions and says yes to multicast and to
loopback in the clothes of 6to4 or NAT64.

An IPv6 address that carries an IPv4 one is as public as that one where systems use such addresses today: mapped
(::ffff:0:0/96) and NAT64 (64:ff9b::/96). The others that carry one are held back whole: compatible (::/96), NAT64 of
local use (64:ff9b:1::/48), 6to4 (2002::/16) and Teredo (2001::/32). No picture lives there.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_public"]

NOT_PUBLIC_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches this machine
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared behind carriers' NAT; metadata of Alibaba's cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public by its number, but answers inside every machine of Azure: keys and settings
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; metadata of Oracle's cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
GIVEN_OUT_V6 = IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
CARRIERS_V6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # the IPv4 address is in the last 32 bits


def is_public(address: IPv4Address | IPv6Address, closed: Iterable[IPv4Network | IPv6Network] = ()) -> bool:
    """Whether an address is one of the open internet, and in none of the `closed` networks."""
    if any(address in block for block in closed):
        return False
    if isinstance(address, IPv4Address):
        return not any(address in block for block in NOT_PUBLIC_V4)
    if address.scope_id is not None:
        return False
    if any(address in block for block in CARRIERS_V6):
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF), closed)
    return address in GIVEN_OUT_V6 and not any(address in block for block in NOT_PUBLIC_V6)
