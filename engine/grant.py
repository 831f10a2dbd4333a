"""Access tokens that are got for a refresh token: what is asked for them, what an answer means, what is kept (RFC 6749, section 6). Pure.

A refresh token may be good for one use: the answer brings the next one, and who presents the old one again may lose the whole grant
(RFC 9700, 4.14.2). So what is kept says that a token is about to be spent, before it is, and what came for it, before that is used.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode

from . import times

_MARGIN, _SHARE = 60.0, 0.1
"""A token counts as old so many seconds before it is, or so much of its life, whichever is less."""

_SPENT = "invalid_grant"
_ERRORS = {_SPENT, "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type"}
"""RFC 6749, 5.2. No other text of an answer is shown."""


@dataclass(frozen=True)
class Grant:
    """What a user gave an application leave for, as the spec's scheme tells it."""

    url: str
    """Of the token server."""
    client_id: str
    client_secret: str = field(repr=False)
    """Empty for an application that has none."""
    refresh_token: str = field(repr=False)
    """The one that the user gave; which one is good by now is kept."""
    setting: str
    """By which setting it was given."""
    scope: str = ""
    in_header: bool = False
    """Whether the application proves who it is in a header; else in the form."""

    @property
    def name(self) -> str:
        """What it is called among all grants: another one for each token that a user gives, and nothing that tells the token."""
        return sha256(f"{self.url}\n{self.client_id}\n{self.refresh_token}".encode()).hexdigest()[:32]

    def form(self, refresh_token: str) -> tuple[dict[str, str], str]:
        """Headers and body of the request that spends a token."""
        asked = {"grant_type": "refresh_token", "refresh_token": refresh_token} | ({"scope": self.scope} if self.scope else {})
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self.in_header:  # RFC 6749, 2.3.1: both are quoted first
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}".encode()
            headers["Authorization"] = "Basic " + b64encode(pair).decode()
        else:
            asked |= {"client_id": self.client_id} | ({"client_secret": self.client_secret} if self.client_secret else {})
        return headers, urlencode(asked)


@dataclass(frozen=True)
class Tokens:
    """What is kept of a grant. Instants are in seconds since the epoch, by this machine's clock."""

    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    """Empty where there is none that could be used."""
    fresh_until: float | None = None
    """None: until the API refuses it."""
    refreshing: float | None = None
    """Since when the refresh token may have been spent by somebody who never kept what came for it."""

    def is_fresh(self, now: float, refused: str) -> bool:
        """Whether the access token can be used; `refused` is one that the API did not take."""
        is_old = self.fresh_until is not None and now >= self.fresh_until
        return bool(self.access_token) and self.access_token != refused and not is_old

    def about_to_be_spent(self, now: float) -> Tokens:
        """As it is kept before the refresh token leaves."""
        return Tokens(self.refresh_token, refreshing=now if self.refreshing is None else self.refreshing)

    def after(self, body: bytes, asked: float) -> Tokens:
        """As it is kept when the token server's answer, to what was asked then, is here. Raises ValueError that says what it lacks."""
        answer = _document(body)
        access, kind = _token(answer, "access_token"), answer.get("token_type")
        if not access:
            raise ValueError("answers without an access_token")
        if kind is not None and str(kind).lower() != "bearer":
            raise ValueError("gives a token of another type than Bearer")
        refresh = answer.get("refresh_token")
        if not isinstance(refresh, str | None):
            raise ValueError("gives a refresh_token that is no text")
        kept = Tokens(refresh or self.refresh_token, access)
        life = _seconds(answer.get("expires_in"))
        return kept if life is None else replace(kept, fresh_until=asked + life - min(_MARGIN, life * _SHARE))


def error_of(status: int, body: bytes) -> str:
    """The standard's word for what a refusal is about; empty where there is none."""
    word = _document(body).get("error") if 400 <= status < 500 else None
    return word if isinstance(word, str) and word in _ERRORS else ""


def refusal(word: str, status: int, grant: Grant, before: Tokens) -> str:
    """What a refusal of the token server means, by the standard's word for it, and what the user can do."""
    said = f"{word}, status {status}" if word else f"status {status}"
    if word == "invalid_client":
        return f"does not know the application {grant.client_id!r} by its secret ({said}); correct client_id and client_secret"
    if word != _SPENT:
        return f"gives no token ({said}); correct token_url, client_id and scope"
    why = "it has expired, or was withdrawn, or was used elsewhere (one that is replaced at each use can serve one hub on one machine only)"
    if before.refreshing is not None:
        at = times.show(int(before.refreshing) * times.SECOND)
        why = f"a run broke off at {at} while it was being spent, and the token that replaced it, if one did, has reached nobody"
    anew = f"authorize the application anew, and give the new refresh token as setting {grant.setting}"
    return f"does not take the refresh token any more ({said}): {why}; {anew}"


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _token(answer: Mapping[str, Any], name: str) -> str:
    """A token out of an answer; empty where there is none that can stand in a header (RFC 6749, appendix A: visible characters)."""
    value = answer.get(name)
    return value if isinstance(value, str) and all("!" <= letter <= "~" for letter in value) else ""


def _seconds(value: Any) -> float | None:
    """A time to live, which some servers send as text; None where there is none, or none to be believed."""
    try:
        life = float(value)
    except (TypeError, ValueError):
        return None
    return life if 0 < life < 10**10 else None
