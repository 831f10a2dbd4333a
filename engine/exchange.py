"""The values that travel between the API and the hub: plain, frozen, JSON-able. Pure.

Made by `plan` and `paginate` (Request), `fetch` (Page), `pull` (Listing); read by everything behind them.
None of them ever holds a credential: those are put on at send time, on a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from msgspec import Struct
from msgspec.structs import replace


def origin(url: str) -> str:
    """`scheme://host:port` of a URL, lower case, with the scheme's own port written out: what credentials belong to."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme.lower(), 0)
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}:{port}"


class Request(Struct, frozen=True):
    """A request as it may be stored: no credentials. `url` is absolute and has no query: that is in `params`."""

    url: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    body: str | None = None
    """A JSON document, where one is sent."""

    @classmethod
    def to(cls, url: str, params: Mapping[str, str]) -> Request:
        """The request of a URL that may carry a query of its own; a parameter in both places is sent once, as in `params`."""
        return cls(url).moved(url).with_params(params)

    def with_params(self, params: Mapping[str, str]) -> Request:
        """The same request with these parameters set, each once; the others stay as they are."""
        kept = tuple((name, value) for name, value in self.params if name not in params)
        return replace(self, params=kept + tuple(params.items()))

    def without_params(self, *names: str) -> Request:
        return replace(self, params=tuple(pair for pair in self.params if pair[0] not in names))

    def moved(self, link: str) -> Request:
        """The request that a link of this one's answer asks for: the link's own query, nothing of ours (RFC 3986, 5.2).

        A user's name and password in it are left out: no answer gives credentials.

        Raises ValueError for what is no URL, or not in UTF-8.
        """
        parts = urlsplit(urljoin(self.full_url, link))
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return replace(self, url=bare, params=tuple(parse_qsl(parts.query, keep_blank_values=True, errors="strict")))

    def with_body(self, body: str) -> Request:
        """The same request, with a JSON document that goes with it."""
        return replace(self, method="POST", body=body)

    def without_body(self) -> Request:
        return replace(self, method="GET", body=None)

    @property
    def full_url(self) -> str:
        return f"{self.url}?{urlencode(self.params)}" if self.params else self.url

    def as_json(self) -> dict[str, Any]:
        data = {"method": self.method, "url": self.url, "params": list(self.params), "headers": list(self.headers)}
        return data if self.body is None else {**data, "body": self.body}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        pairs = {name: tuple((str(key), str(value)) for key, value in data[name]) for name in ("params", "headers")}
        return cls(data["url"], pairs["params"], pairs["headers"], data["method"], data.get("body"))


Told = Literal["ignore", "skip", "end"]
"""What an answer that is no list may mean: nothing to take, a part to leave out, the list's end."""


@dataclass(frozen=True)
class Page:
    """One answer, whole: `body` is what the API sent, byte for byte (decompressed)."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    requests: int = 1
    """How many were sent until this answer came, retries included."""
    seconds: float = 0.0
    """From sending the last of them to its answer's last byte."""
    told: Told | None = None
    """What the spec's error rules make of the answer, where one covers it."""
    message: str = ""
    """What that rule says to people."""


@dataclass(frozen=True)
class Listing:
    """A page read as a list: the exact bytes of each record, and all around them as Python values.

    `values(property)` gives a declared property of every record: a number where it is an integer or an instant (microseconds),
    its text otherwise, None where there is none; `key` are the names that tell records apart. `request` is as it was sent, but
    for credentials.
    """

    request: Request
    records: Sequence[bytes] = field(repr=False)
    envelope: Any = field(repr=False)
    values: Callable[[str], Sequence[int | str | None]] = field(repr=False, default=lambda name: ())
    key: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    null: str | None = None
    """Where null stands in the list's place: what to say of it, unless the list's end is known from elsewhere."""

    def identity(self) -> bytes:
        """Which records these are: by their keys, or by all that they are, where some have none."""
        return b"\n".join(self.identities)

    @cached_property
    def identities(self) -> Sequence[bytes]:
        """Which record each is: by its key, or by all that it is, where it has none."""
        keys = list(zip(*(self.values(name) for name in self.key), strict=True)) or [(None,)] * len(self.records)
        return [record if None in key else repr(key).encode() for key, record in zip(keys, self.records, strict=True)]
