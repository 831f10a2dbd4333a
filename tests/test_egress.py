"""Requests go to the API's own origins, and never into a network that the API is not in."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from rest_syncer.engine.egress import Egress, NotThere, addresses, class_of, origin_of

HOME, OTHER = "https://api.example.com/v1", "https://files.example.com"


def egress(answers: Sequence[str], home: Sequence[str] = ("93.184.216.34",), base: str = HOME, other: str = OTHER) -> Egress:
    return Egress(base, (other,), lambda host: home if host in base else answers)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", "public"), ("2606:4700::1111", "public"), ("::ffff:8.8.8.8", "public"), ("64:ff9b::8.8.8.8", "public"),
        ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"),
        ("10.1.2.3", "private"), ("172.20.0.1", "private"), ("192.168.1.1", "private"), ("fd12::1", "private"), ("100.64.0.1", "private"),
        ("::ffff:10.0.0.1", "private"), ("2002:a00:1::", "private"), ("64:ff9b::10.0.0.1", "private"),
        ("169.254.1.1", "link-local"), ("fe80::1", "link-local"),
        ("169.254.169.254", "metadata"), ("fd00:ec2::254", "metadata"), ("::ffff:169.254.169.254", "metadata"),
        ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), (str(IPv4Address(0)), "unspecified"), ("::", "unspecified"),
        ("240.0.0.1", "reserved"), ("255.255.255.255", "reserved"), ("nonsense", "reserved"),
    ],
)  # fmt: skip
def test_an_address_is_of_this_class(address: str, expected: str) -> None:
    assert class_of(address) == expected


def test_a_listed_origin_with_public_addresses_is_allowed() -> None:
    egress(["8.8.8.8", "2606:4700::1111"]).check(f"{OTHER}/x")


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "::"])
def test_one_address_inside_is_enough_to_refuse_and_is_not_named(address: str) -> None:
    with pytest.raises(NotThere) as caught:
        egress(["8.8.8.8", address]).check(f"{OTHER}/x")
    assert str(caught.value) == f"leads to an address of the sort {class_of(address)}, where the API itself has none"


def test_an_api_inside_may_name_its_neighbours_but_no_others() -> None:
    egress(["10.0.0.2"], home=["10.0.0.1"]).check(OTHER)
    with pytest.raises(NotThere, match="of the sort metadata"):
        egress(["169.254.169.254"], home=["10.0.0.1"]).check(OTHER)


def test_the_home_is_never_resolved() -> None:
    def resolve(host: str) -> list[str]:
        raise AssertionError(host)

    Egress(HOME, (), resolve).check("https://API.example.com:443/v2")


@pytest.mark.parametrize("url", ["https://evil.example.net/", "ftp://files.example.com/", "https://[/", "https://files.example.com:8443/"])
def test_what_is_not_listed_is_refused_before_its_name_is_resolved(url: str) -> None:
    with pytest.raises(NotThere, match="is no origin of the API"):
        egress([]).check(url)


def test_https_never_gives_way_to_http() -> None:
    plain = "http://files.example.com"
    with pytest.raises(NotThere, match="goes from https to a connection that anyone can read"):
        egress(["8.8.8.8"], other=plain).check(plain)
    egress(["8.8.8.8"], other=plain, base="http://api.example.com").check(plain)


def test_the_machines_resolver_is_asked_and_says_what_odd_spellings_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert addresses("127.1") == addresses("2130706433") == ["127.0.0.1"]
    with pytest.raises(OSError, match="no name"):
        addresses("a" * 70 + ".example")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **words: [(0, 0, 0, "", ("fe80::1%eth0", 0, 0, 2))])
    assert addresses("zone") == ["fe80::1"]


def test_an_ipv6_host_is_resolved_as_such() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return [host]

    Egress("http://[::1]:8000", ("http://[::1]:9000",), resolve).check("http://[::1]:9000/x")
    assert (asked, origin_of("mailto:a@b")) == (["::1", "::1"], "")
