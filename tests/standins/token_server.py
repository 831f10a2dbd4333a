"""A token server (OAuth 2.0) as real ones are that replace refresh tokens at each use, and guard against stolen ones (RFC 9700, 4.14.2).

It is a function from a form to an answer, with a clock of its own, and opens no port. Who presents a refresh token that was replaced
loses the whole grant, unless that was within the `grace` that some servers leave for answers that were lost on their way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs


@dataclass
class _Grant:
    """What one user gave leave for, once."""

    withdrawn: bool = False


@dataclass
class _Token:
    grant: _Grant
    until: float
    """Until when an access token is good; when a refresh token was replaced, or no end."""


class TokenServer:
    """Knows one application; `rotates` says whether a refresh token is good for one use only."""

    def __init__(self, clock: Callable[[], float], lifetime: float = 300.0, rotates: bool = True, grace: float = 0.0) -> None:
        self.clock, self.lifetime, self.rotates, self.grace = clock, lifetime, rotates, grace
        self.client = {"client_id": "app-1", "client_secret": "of-the-app+/&"}
        self.asked = 0
        self._refresh: dict[str, _Token] = {}
        self._access: dict[str, _Token] = {}
        self._numbers = itertools.count(1)

    def authorize(self) -> str:
        """A user gives leave: the first refresh token of a grant."""
        return self._new_refresh(_Grant())

    def takes(self, authorization: str) -> bool:
        """Whether an API would let in who sends this header."""
        token = self._access.get(authorization.removeprefix("Bearer "))
        return token is not None and not token.grant.withdrawn and self.clock() < token.until

    def expire(self) -> None:
        """All access tokens end before their time."""
        self._access.clear()

    def answer(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and document for the form of a token request."""
        self.asked += 1
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        if {name: form.get(name) for name in self.client} != self.client:
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") != "refresh_token":
            return 400, {"error": "unsupported_grant_type"}
        token = self._refresh.get(form.get("refresh_token", ""))
        if token is None or token.grant.withdrawn:
            return 400, {"error": "invalid_grant", "error_description": "unknown or withdrawn"}
        if self.clock() - token.until >= self.grace:
            token.grant.withdrawn = True
            return 400, {"error": "invalid_grant", "error_description": f"{form['refresh_token']} was used before"}
        access = f"access-{next(self._numbers):04}"
        self._access[access] = _Token(token.grant, self.clock() + self.lifetime)
        document = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime}
        if self.rotates:
            token.until = min(token.until, self.clock())
            document["refresh_token"] = self._new_refresh(token.grant)
        return 200, document

    def _new_refresh(self, grant: _Grant) -> str:
        name = f"refresh-{next(self._numbers):04}"
        self._refresh[name] = _Token(grant, float("inf"))
        return name
