"""The newest tokens of a grant, kept beside the hub for all runs that use it. I/O; files for their owner alone.

They lie on this machine, also where the hub is in a bucket. A refresh token that was replaced is lost with its replacement, so nothing
here is overwritten: what comes next is a file with the next number, whole and on the disk before anything is done with it. Then those
before it are removed. Who reads takes the highest.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from .account import locked
from .grant import Grant, Tokens, error_of, refusal
from .hub.folder import Folder
from .hub.store import decoded, encoded

Ask = Callable[[Mapping[str, str], str], tuple[int, bytes]]
"""Sends headers and a form to the token server; gives status and body of its answer."""


class NotGiven(Exception):
    """The token server gives no token; the message says why, and what the user can do."""


class Keeper:
    """Keeps the tokens of one grant in a hub's folder, which need not be there yet. For any number of threads and processes."""

    def __init__(self, folder: Path, grant: Grant) -> None:
        self.grant = grant
        self._store, self._place = Folder(folder), f"account/tokens/{grant.name}"
        self._lock = threading.Lock()

    def newest(self) -> Tokens:
        """What is kept, for who only looks; nothing is made. Raises HubError."""
        if not self._names():
            return Tokens(self.grant.refresh_token)
        with self._held() as tokens:
            return tokens

    def renewed(self, now: float, not_taken: str, ask: Ask) -> Tokens:
        """Tokens whose access token can be used: those that are kept, or new ones, and then those are kept.

        `now` is in seconds since the epoch; `not_taken` is an access token that the API refused. Raises NotGiven and HubError. Whatever
        `ask` raises comes through, and leaves the mark that the refresh token may be spent.
        """
        with self._held() as before:
            if before.is_fresh(now, not_taken):
                return before
            self._keep(before.about_to_be_spent(now))
            status, body = ask(*self.grant.form(before.refresh_token))
            if status == 200:
                try:
                    after = before.after(body, now)
                except ValueError as error:
                    raise NotGiven(f"{error}; correct token_url") from None
                self._keep(after)
                return after
            if 400 <= status < 500:  # it was not spent this time
                self._keep(before)
            raise NotGiven(refusal(error_of(status, body), status, self.grant, before))

    @contextlib.contextmanager
    def _held(self) -> Iterator[Tokens]:
        """The tokens, for this thread of this process alone: no two may spend the same one."""
        with self._lock, locked(self._store.root, "refreshing", self.grant.name, wait=True):
            names = self._names()
            yield decoded(self._store, names[-1], Tokens) if names else Tokens(self.grant.refresh_token)

    def _keep(self, tokens: Tokens) -> None:
        """Keep these from now on; durable when it returns."""
        before = self._names()
        number = int(PurePosixPath(before[-1]).stem) + 1 if before else 1
        while not self._store.put(f"{self._place}/{number:06}.json", encoded(tokens)):
            number += 1  # where locks do not work, another was faster; what came last is the newest
        for name in before:
            self._store.remove(name)

    def _names(self) -> list[str]:
        """The files in which tokens are kept, the newest last: what else lies there is not ours."""
        return [name for name in self._store.names(self._place) if re.fullmatch(r"\d{6,}\.json", PurePosixPath(name).name)]
