"""Request -> Page over HTTP: the only HTTP client. I/O.

What leaves: the stored request with credentials put on, to the origin of the API's base URL and nowhere else. What comes
back: a Page, or an error with URL and status in it, never a body and never a secret. Budgets are waited for, not run into;
what may pass is tried again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import httpx

from .auth import Auth
from .budget import Allowance
from .errors import FetchError, Refused, UsageError
from .exchange import Page, Request, origin
from .settings import Settings
from .spec import Api

if TYPE_CHECKING:
    from types import TracebackType

_KEPT_HEADERS = ("content-type", "date", "etag", "last-modified", "link", "retry-after")
_WHOLE = (200, 201, 203)
"""The statuses of a whole answer: a part (206), a promise (202) or nothing (204) is no list."""
_MOST_REDIRECTS = 5
_MOST_REFUSALS = 100
"""How often a request waits for a budget that others spend, before it counts as a failure."""

_SURROUNDINGS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What httpx takes from the environment."""

Waiting = Callable[[float, str], None]
"""Told before each wait: how many seconds, and why."""


class Clock:
    """The clocks of a run, in one place, so that tests can bring their own."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def dice(self) -> float:
        """A number in [0, 1), so that many clients do not come back at one instant."""
        return random.random()


class Fetcher:
    """Sends the requests of one source. Use it as a context manager; it belongs to one thread."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        label: str,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        waiting: Waiting = lambda seconds, why: None,
    ) -> None:
        self.api, self.settings, self.label = api, settings, label
        self.clock = clock or Clock()
        self.waiting = waiting
        self.home = origin(api.base_url.render(settings.values))
        scheme = api.auth.chosen(settings.values)
        self._signature = _Signature(scheme, scheme.rendered(settings.values))
        timeout = httpx.Timeout(api.retry.timeout.seconds, connect=min(30.0, api.retry.timeout.seconds))
        try:
            self._client = httpx.Client(timeout=timeout, transport=transport, headers={"User-Agent": "syncer"})
        except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
            variables = ", ".join(name for name in _SURROUNDINGS if name in os.environ or name.lower() in os.environ)
            raise UsageError(f"no connection can be opened ({type(error).__name__}); correct {variables or 'the network set-up'}") from None
        self._allowances: list[Allowance] = [budget.opened(self.clock.monotonic()) for budget in api.budgets]

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def send(self, request: Request) -> Page:
        """The answer to a request: status 2xx. Raises Refused or FetchError for any other, after its retries."""
        sent, attempt, redirects, refusals = 0, 0, 0, 0
        retry = self.api.retry
        while True:
            self._wait_for_budgets()
            sent, attempt = sent + 1, attempt + 1
            started = self.clock.monotonic()
            try:
                response = self._client.send(self._signed(request), auth=self._signature)
            except httpx.LocalProtocolError:
                what = "cannot be asked for: a header or a credential holds what HTTP cannot carry (a line break?); correct it"
                raise FetchError(self._sentence(request, what)) from None
            except (httpx.TransportError, httpx.DecodingError) as error:
                self._budget_spent({}, 0)
                if attempt >= retry.attempts:
                    raise FetchError(self._sentence(request, f"no answer ({_cause(error)}), tried {attempt} times")) from None
                self._wait(retry.wait(attempt, {}, self.clock.time(), self.clock.dice()), f"no answer, try {attempt}")
                continue
            status, headers = response.status_code, response.headers
            self._budget_spent(headers, status)
            if status in _WHOLE:
                kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
                return Page(request, status, kept, response.content, sent, self.clock.monotonic() - started)
            if response.has_redirect_location and redirects < _MOST_REDIRECTS:
                request, redirects, attempt = self._redirected(request, headers), redirects + 1, attempt - 1
                continue
            if status in retry.statuses and attempt < retry.attempts:
                by_budget = status == 429 and refusals < _MOST_REFUSALS and any(one.reset_header for one in self.api.budgets)
                if by_budget and not headers.get("retry-after"):
                    refusals, attempt = refusals + 1, attempt - 1
                    continue
                self._wait(
                    retry.wait(attempt, headers, self.clock.time(), self.clock.dice()),
                    f"status {status}, try {attempt}",
                )
                continue
            raise self._failure(request, status, attempt)

    def shown(self, request: Request) -> str:
        """A request's URL as it may be shown."""
        return self.settings.hide(request.full_url)

    def _signed(self, request: Request) -> httpx.Request:
        if origin_of(request.url) != self.home:
            raise FetchError(
                f"{self.settings.hide(request.url)} is not on {self.home}, where {self.label} is; "
                "its links are not followed to other hosts, where credentials and data would leak"
            )
        sent = self.settings.unmasked(request)
        headers = {name: value.render(self.settings.values) for name, value in self.api.headers.items()} | dict(request.headers)
        try:
            return self._client.build_request(sent.method, sent.full_url, headers=headers)
        except (httpx.InvalidURL, ValueError) as error:
            raise FetchError(
                self._sentence(request, f"cannot be asked for ({type(error).__name__}); correct the URL or the headers")
            ) from None

    def _redirected(self, request: Request, headers: httpx.Headers) -> Request:
        try:
            return self.settings.masked(self.settings.unmasked(request).moved(headers.get("location", "")))
        except ValueError:
            raise FetchError(self._sentence(request, "redirects to what is no URL")) from None

    def _wait_for_budgets(self) -> None:
        while True:
            now = self.clock.monotonic()
            waits = [budget.wait(left, now) for budget, left in zip(self.api.budgets, self._allowances, strict=True)]
            if not any(wait > 0 for wait in waits):
                break
            self._wait(max(waits), "the budget is spent")
        pairs = zip(self.api.budgets, self._allowances, strict=True)
        self._allowances = [budget.spent(left, now) for budget, left in pairs]

    def _budget_spent(self, headers: httpx.Headers | dict[str, str], status: int) -> None:
        now, epoch = self.clock.monotonic(), self.clock.time()
        pairs = zip(self.api.budgets, self._allowances, strict=True)
        self._allowances = [budget.told(left, headers, status, now, epoch) for budget, left in pairs]

    def _wait(self, seconds: float, why: str) -> None:
        self.waiting(seconds, why)
        self.clock.sleep(seconds)

    def _failure(self, request: Request, status: int, attempts: int) -> Exception:
        if status == 401:
            who = self._signature.scheme.who(self._signature.values)
            return Refused(f"{self.label} refused the credentials of {who} (401 from {self.shown(request)}); correct them")
        if status == 403:
            who = self._signature.scheme.who(self._signature.values)
            why = f"403: {who} may not read this; give that account a role that may, or leave the collection out with --select"
            return FetchError(self._sentence(request, why))
        hints = {
            202: ": the answer is not ready; run again later", 204: ": nothing came, not even an empty list; correct the path",
            206: ": only a part of the answer came; say how to ask for all", 404: "; correct the path, or the base URL",
            429: "; declare a smaller budget in `api.budgets`",
        }  # fmt: skip
        tries = f", tried {attempts} times" if attempts > 1 else ""
        return FetchError(self._sentence(request, f"status {status}{tries}{hints.get(status, '')}"), status)

    def _sentence(self, request: Request, what: str) -> str:
        return f"{request.method} {self.shown(request)}: {what}"


class _Signature(httpx.Auth):
    """An auth scheme as httpx drives it: at send time, on the request that leaves."""

    def __init__(self, scheme: Auth, values: dict[str, str]) -> None:
        self.scheme, self.values = scheme, values

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        yield from self.scheme.flow(request, self.values)


def origin_of(url: str) -> str:
    """The origin of a URL; empty for what is none."""
    try:
        return origin(url)
    except ValueError:
        return ""


def _cause(error: httpx.RequestError) -> str:
    """What went wrong, in few words: a transport's own message may hold a URL with a key in it."""
    names = {
        httpx.ConnectError: "cannot connect", httpx.ConnectTimeout: "cannot connect in time", httpx.ReadTimeout: "time-out",
        httpx.RemoteProtocolError: "the answer broke off", httpx.ReadError: "the connection broke",
        httpx.DecodingError: "the answer does not decompress",
    }  # fmt: skip
    return names.get(type(error), type(error).__name__)
