"""Where requests may go: to the origin of the base URL, to those that the spec lists beside it, and nowhere else. I/O: names are resolved.

A listed origin may still turn out to be a machine of the user's own network, by its name's addresses; that is refused, so that no
spec and no setting can make syncer a way into it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from .exchange import origin

Resolve = Callable[[str], Iterable[str]]
"""The addresses of a host name. Raises OSError where there are none."""

_METADATA = frozenset(map(ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))
"""Where clouds hand out credentials to whatever runs on them."""

_NAT64 = b"\0\x64\xff\x9b" + bytes(8)
"""Where IPv6 networks reach IPv4 addresses: the last four bytes (RFC 6052)."""


class NotThere(Exception):
    """A request may not go where it wants to; the message says why, and names no address."""


def addresses(host: str) -> Iterable[str]:
    """What the machine's resolver says. Raises OSError."""
    try:
        return sorted({str(answer[4][0]).partition("%")[0] for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except UnicodeError:
        raise OSError("no name") from None


@dataclass(frozen=True)
class Egress:
    """Which origins requests may go to: that of the base URL, and those of `others`, which are URLs too."""

    base: str
    others: tuple[str, ...] = ()
    resolve: Resolve = field(default=addresses, repr=False)

    @property
    def home(self) -> str:
        return origin(self.base)

    def check(self, url: str) -> None:
        """Raises NotThere, or OSError where the name of a listed origin cannot be resolved."""
        there = origin_of(url)
        if there == self.home:
            return
        if there not in map(origin_of, self.others):
            raise NotThere("is no origin of the API")
        if there.startswith("http:") and self.home.startswith("https:"):
            raise NotThere("goes from https to a connection that anyone can read")
        if inside := self._classes(url) - {"public"}:
            inside -= self._classes(self.base)
        if inside:
            raise NotThere(f"leads to an address of the sort {min(inside)}, where the API itself has none")

    def _classes(self, url: str) -> set[str]:
        return {class_of(address) for address in self.resolve(urlsplit(url).hostname or "")}


def origin_of(url: str) -> str:
    """The origin of a URL that requests can be sent to; empty for any other."""
    try:
        found = origin(url)
    except ValueError:
        return ""
    return found if found.startswith(("http://", "https://")) else ""


def class_of(address: str) -> str:
    """What sort of place an address is: `public`, or why it is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return "reserved"
    if isinstance(found, IPv6Address):
        within = IPv4Address(found.packed[-4:]) if found.packed[:12] == _NAT64 else None
        if inner := found.ipv4_mapped or found.sixtofour or within:
            return class_of(str(inner))
    if found in _METADATA:
        return "metadata"
    kinds = {
        "loopback": found.is_loopback, "link-local": found.is_link_local, "unspecified": found.is_unspecified,
        "multicast": found.is_multicast, "reserved": found.is_reserved, "private": found.is_private or not found.is_global,
    }  # fmt: skip
    return next((kind for kind, is_it in kinds.items() if is_it), "public")
