"""What is public, compared with the registries of special purposes, and what IPv4 addresses wear in IPv6."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.serve.addresses import is_public

# The IANA special-purpose address registries (RFC 6890 and what came after), with their column "globally reachable";
# and multicast, which has registries of its own.
REGISTRY_V4 = {
    "0.0.0.0/8": False,
    "0.0.0.0/32": False,
    "10.0.0.0/8": False,
    "100.64.0.0/10": False,
    "127.0.0.0/8": False,
    "169.254.0.0/16": False,
    "172.16.0.0/12": False,
    "192.0.0.0/24": False,
    "192.0.0.0/29": False,
    "192.0.0.8/32": False,
    "192.0.0.9/32": True,
    "192.0.0.10/32": True,
    "192.0.0.170/32": False,
    "192.0.0.171/32": False,
    "192.0.2.0/24": False,
    "192.31.196.0/24": True,
    "192.52.193.0/24": True,
    "192.88.99.0/24": False,  # deprecated
    "192.168.0.0/16": False,
    "192.175.48.0/24": True,
    "198.18.0.0/15": False,
    "198.51.100.0/24": False,
    "203.0.113.0/24": False,
    "224.0.0.0/4": False,
    "240.0.0.0/4": False,
    "255.255.255.255/32": False,
}
REGISTRY_V6 = {
    "::1/128": False,
    "::/128": False,
    "::ffff:0:0/96": False,
    "64:ff9b::/96": True,
    "64:ff9b:1::/48": False,
    "100::/64": False,
    "100:0:0:1::/64": False,
    "2001::/23": False,
    "2001::/32": False,
    "2001:1::1/128": True,
    "2001:1::2/128": True,
    "2001:1::3/128": True,
    "2001:2::/48": False,
    "2001:3::/32": True,
    "2001:4:112::/48": True,
    "2001:10::/28": False,  # deprecated
    "2001:20::/28": True,
    "2001:30::/28": True,
    "2001:db8::/32": False,
    "2002::/16": False,
    "2620:4f:8000::/48": True,
    "3fff::/20": False,
    "5f00::/16": False,
    "fc00::/7": False,
    "fe80::/10": False,
    "fec0::/10": False,  # site-local, deprecated
    "ff00::/8": False,
}
AZURE = IPv4Address("168.63.129.16")  # in no registry: it answers inside every machine of that cloud
BLOCKS_V4 = {IPv4Network(block): reachable for block, reachable in REGISTRY_V4.items()}
BLOCKS_V6 = {IPv6Network(block): reachable for block, reachable in REGISTRY_V6.items()}
MAPPED = IPv6Network("::ffff:0:0/96")

any_v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
any_v6 = st.integers(0, 2**128 - 1).map(IPv6Address)


def inside(blocks):
    """Addresses of the blocks."""
    return st.sampled_from(list(blocks)).flatmap(
        lambda block: st.integers(0, block.num_addresses - 1).map(block.__getitem__)
    )


def expected_v4(address):
    """Of an IPv4 address that the registry names, the worst it says; the anycast in 192.0.0.0/24 is no exception."""
    return address != AZURE and all(reachable for block, reachable in BLOCKS_V4.items() if address in block)


@given(any_v4 | inside(BLOCKS_V4))
def test_ipv4_is_public_as_the_registry_says(address):
    assert is_public(address) == expected_v4(address)


@pytest.mark.parametrize("block", BLOCKS_V4, ids=str)
def test_blocks_of_ipv4_begin_and_end_where_the_registry_says(block):
    numbers = {max(int(block[0]) - 1, 0), int(block[0]), int(block[-1]), min(int(block[-1]) + 1, 2**32 - 1)}
    for address in map(IPv4Address, numbers):
        assert is_public(address) == expected_v4(address), address


@given(any_v6 | inside(BLOCKS_V6) | inside([IPv6Network("2000::/3")]))
def test_ipv6_is_public_at_most_as_the_registry_says(address):
    named = [reachable for block, reachable in BLOCKS_V6.items() if address in block and block != MAPPED]
    if address in IPv6Network("2000::/3") and not named:
        assert is_public(address)
    elif is_public(address):
        assert all(named)


@pytest.mark.parametrize("block", [block for block, reachable in BLOCKS_V6.items() if not reachable], ids=str)
def test_blocks_of_ipv6_that_are_not_public(block):
    assert not is_public(block[0])
    assert not is_public(block[-1])  # ::ffff:255.255.255.255, too


@pytest.mark.parametrize("block", [block for block, reachable in BLOCKS_V6.items() if not reachable], ids=str)
def test_blocks_of_ipv6_end_where_the_registry_says(block):
    for number in (int(block[0]) - 1, int(block[-1]) + 1):
        if 0 <= number < 2**128 and IPv6Address(number) in IPv6Network("2000::/3"):
            address = IPv6Address(number)
            assert is_public(address) == (not any(address in other for other in BLOCKS_V6)), address


@given(any_v4 | inside(BLOCKS_V4))
def test_mapped_and_nat64_are_as_public_as_what_they_carry(carried):
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(IPv6Address(int(IPv6Address(prefix)) | int(carried))) == is_public(carried)


@given(any_v4 | inside(BLOCKS_V4), st.integers(0, 2**80 - 1))
def test_other_addresses_that_carry_ipv4_are_never_public(carried, rest):
    number = int(carried)
    compatible = number
    six_to_four = (0x2002 << 112) | (number << 80) | rest
    teredo_client = (0x20010000 << 96) | (rest >> 48 << 64) | (rest & 0xFFFFFFFF) << 32 | (number ^ 0xFFFFFFFF)
    teredo_server = (0x20010000 << 96) | (number << 64) | rest >> 16
    local_nat64 = int(IPv6Address("64:ff9b:1::"))
    as_rfc_6052_has_it = ((number >> 16) << 64) | ((number & 0xFFFF) << 40)
    carriers = (
        compatible,
        six_to_four,
        teredo_client,
        teredo_server,
        local_nat64 | number,
        local_nat64 | as_rfc_6052_has_it,
    )
    for carrier in carriers:
        assert not is_public(IPv6Address(carrier)), IPv6Address(carrier)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # metadata of AWS, Google, Azure and most others
        "fd00:ec2::254",  # of AWS
        "fd20:ce::254",  # of Google
        "100.100.100.200",  # of Alibaba
        "192.0.0.192",  # of Oracle
        "168.63.129.16",  # of Azure
        "64:ff9b::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2606:4700::1%eth0",
        "::",
        "::1",
        "255.255.255.255",
    ],
)
def test_places_that_must_never_be_asked(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "64:ff9b::8.8.8.8"]
)
def test_places_of_the_open_internet(address):
    assert is_public(ip_address(address))


def test_closed_networks_are_not_public_in_any_clothes():
    closed = (IPv4Network("93.184.216.0/24"), IPv6Network("2606:4700::/32"))
    for address in ("93.184.216.34", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34", "2606:4700::1"):
        assert is_public(ip_address(address))
        assert not is_public(ip_address(address), closed)
    assert is_public(ip_address("93.184.217.34"), closed)
