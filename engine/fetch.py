"""Request -> Page over HTTP: the only HTTP client. I/O.

What leaves: the stored request with credentials put on, to the origins of the API and nowhere else. What comes back, within its
limits: a Page, or an error with URL and status in it, never a body and never a secret. Budgets are waited for, not run into;
what may pass is tried again; no wait is silent.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import httpx
from msgspec import Struct

from . import times
from .account import Account, Waiting, account_name
from .auth import Auth
from .clock import Clock
from .egress import Egress, NotThere, Resolve, addresses, origin_of
from .errors import Astray, FetchError, Refused, UsageError
from .exchange import Page, Request, Told
from .limits import ENCODINGS, BrokeOff, TooMuch, Undecodable, check_body, check_headers, whole_body
from .quota import told_by
from .rules import Rule, first_match
from .settings import Settings
from .spec import Api
from .tokens import Keeper, NotGiven
from .transport import direct

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from .grant import Tokens

_KEPT_HEADERS = ("content-type", "date", "etag", "last-modified", "link", "retry-after")
_WHOLE = (200, 201, 203)
"""The statuses of a whole answer: a part (206), a promise (202) or nothing (204) is no list."""
_MOST_REFUSALS = 100
"""How often a request waits because the API asks for it, before that counts as a failure."""

_HINTS = {
    202: ": the answer is not ready; run again later", 204: ": nothing came, not even an empty list; correct the path",
    206: ": only a part of the answer came; say how to ask for all", 404: "; correct the path, or the base URL",
    400: "; correct the parameters, or, if lists end so, say so by an error rule (`{status: 400, then: end}`)",
    429: "; declare a smaller budget in `api.budgets`",
}  # fmt: skip

_IN_TROUBLE = "; the API is in trouble: what was received is kept, and a later run goes on"
"""Of 500 and above."""

_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Whom connections trust where none goes by https."""

_NO_REDIRECT = "redirects to what is no URL; correct the path, or the base URL"

_SURROUNDINGS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What httpx takes from the environment."""

_OUR_HEADERS = {"User-Agent": "syncer", "Accept-Encoding": ENCODINGS}


class Fetcher:
    """Sends the requests of one source, from any number of threads. Use it as a context manager."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        label: str,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
        waiting: Waiting = lambda seconds, why: None,
        resolve: Resolve = addresses,
        beside: Path | None = None,
    ) -> None:
        """`beside` is the folder of the hub, where tokens are kept that the API gives in the course of time."""
        self.api, self.settings, self.label = api, settings, label
        self.clock = clock or Clock()
        self.waiting = waiting
        others = tuple(other.render(settings.values) for other in api.origins)
        self.egress = Egress(api.base_url.render(settings.values), others, resolve)
        scheme = api.auth.chosen(settings.values)
        self._signature = _Signature(scheme, scheme.rendered(settings.values))
        self._tokens = self._keeper(beside)
        timeout = httpx.Timeout(api.retry.timeout.seconds, connect=min(30.0, api.retry.timeout.seconds))
        try:
            trust = self._trust()
            self._client = httpx.Client(timeout=timeout, transport=transport or direct(trust), headers=_OUR_HEADERS, verify=trust)
        except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
            variables = ", ".join(name for name in _SURROUNDINGS if name in os.environ or name.lower() in os.environ)
            raise UsageError(f"no connection can be opened ({type(error).__name__}); correct {variables or 'the network set-up'}") from None
        name = self._account_name() if api.budgets or api.concurrency else None
        self.stopped = False
        """Whether nothing more is sent."""
        self._account = Account(api.budgets, api.concurrency, self.clock, waiting, name)

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()
        self._account.close()

    def send(
        self, request: Request, rules: Sequence[Rule] = (), cost: int | None = None, conditions: Mapping[str, str] | None = None
    ) -> Page:
        """The answer to a request: a whole one, or one that an error rule takes. Raises Refused or FetchError for any other.

        `rules` are tried before the API's; `cost` says for how many requests of each budget it counts, if not for the API's own number.
        With `conditions`, headers that ask for what has changed, a 304 is an answer, too: a page without a body.
        """
        rules = (*rules, *self.api.errors)
        tries = _Tries()
        while True:
            if self.stopped:
                raise KeyboardInterrupt
            try:
                if self._tokens:
                    tries.access_token = self._access_token(self._tokens, tries.not_taken)
                with self._account.permit(cost or self.api.cost):
                    tries.sent += 1
                    answer = self._ask(request, self._signed(request, conditions or {}), self._signature.bearing(tries.access_token))
                    self._account.told(answer.headers, answer.status)
            except _NoAnswer as error:
                self._try_again(request, tries, None, f"no answer ({error})")
                continue
            rule = first_match(rules, answer.status, answer.body)
            if rule is not None:
                if rule.then == "fail":
                    why = _reason(answer.status, rule.message or "an error, by the spec's rules")
                    raise FetchError(self._sentence(request, why), answer.status)
                if rule.then != "retry":
                    return self._page(request, answer, tries.sent, rule.then, rule.message)
                self._try_again(request, tries, answer, _reason(answer.status, rule.message))
            elif answer.status in _WHOLE or (conditions and answer.status == 304):
                return self._page(request, answer, tries.sent)
            elif answer.status == 401 and self._tokens and not tries.not_taken:
                tries.not_taken = tries.access_token
            elif answer.is_redirect:
                request = self._redirected(request, answer, tries)
                conditions = None  # they were about the page that has moved
            elif answer.status in self.api.retry.statuses:
                self._try_again(request, tries, answer, _reason(answer.status))
            else:
                raise self._failure(request, answer.status, tries.failed + 1)

    def stop(self) -> None:
        """Send nothing more: who asks for it is interrupted."""
        self.stopped = True

    def remaining(self) -> tuple[int, int] | None:
        """How many requests the tightest budget has left after the last answer, and when (epoch microseconds) it has all again."""
        found = self._account.remaining()
        return found and (found[0], int((self.clock.time() + found[1]) * times.SECOND))

    def shown(self, request: Request) -> str:
        """A request's URL as it may be shown."""
        return self.settings.hide(request.full_url)

    def _trust(self) -> ssl.SSLContext:
        """Whom https connections trust, where there may be any: the certificates of all authorities take 30 ms to read."""
        urls = (self.egress.base, *self.egress.others, *([self._tokens.grant.url] if self._tokens else []))
        return httpx.create_ssl_context() if any(origin_of(url).startswith("https:") for url in urls) else _NOBODY

    def _keeper(self, beside: Path | None) -> Keeper | None:
        """Who keeps the tokens that the auth scheme needs, if it does. Raises UsageError where there is no server to get them from."""
        grant = self._signature.scheme.grant(self._signature.values)
        if grant is None:
            return None
        if not origin_of(grant.url):
            shown = self.settings.hide(grant.url)
            raise UsageError(f"token_url {shown!r} is no URL that requests can be sent to; write https:// and a host")
        if beside is None:
            raise UsageError(f"{self.label}: there is no hub beside which tokens could be kept")
        keeper = Keeper(beside, grant)
        self._know(keeper.newest())  # a request may be stored in which one of them was
        return keeper

    def _access_token(self, keeper: Keeper, not_taken: str) -> str:
        """One that the API can take. Raises Refused, HubError or Astray; _NoAnswer where another try may help."""
        server = Request(keeper.grant.url, method="POST")
        try:
            Egress(self.egress.base, (server.url,), self.egress.resolve).check(server.url)
        except NotThere as error:
            raise Astray(self._sentence(server, f"{error}; correct token_url")) from None
        except OSError:
            raise _NoAnswer("the token server's name is not known") from None
        try:
            tokens = keeper.renewed(self.clock.time(), not_taken, partial(self._token_answer, server))
        except NotGiven as error:
            raise Refused(f"{self.label}: the token server, {self.shown(server)}, {error}") from None
        self._know(tokens)
        return tokens.access_token

    def _token_answer(self, server: Request, headers: Mapping[str, str], form: str) -> tuple[int, bytes]:
        """Status and body of what the token server says. Raises _NoAnswer where that may pass."""
        try:
            answer = self._ask(server, self._client.build_request("POST", server.url, headers=headers, content=form), None)
        except _NoAnswer as error:
            raise _NoAnswer(f"{error}; from the token server, {self.shown(server)}") from None
        if answer.status in self.api.retry.statuses:
            raise _NoAnswer(f"{_reason(answer.status)} from the token server, {self.shown(server)}")
        return answer.status, answer.body

    def _know(self, tokens: Tokens) -> None:
        """From now on nothing that is shown or stored holds these."""
        found = {"_access_token": tokens.access_token, "_refresh_token": tokens.refresh_token}
        self.settings = self.settings.with_secrets({name: value for name, value in found.items() if value})

    def _ask(self, request: Request, leaving: httpx.Request, signature: _Signature | None) -> _Answer:
        """Send it once. Raises _NoAnswer for what may pass, FetchError for what will not."""
        started = self.clock.monotonic()
        try:
            response = self._client.send(leaving, auth=signature, stream=True)
            try:
                headers = dict(response.headers.items())
                check_headers(response.headers.raw, self.api.limits)
                body = self._body(response, headers, started)
            finally:
                response.close()
        except httpx.InvalidURL:  # httpx looks where a redirect leads
            raise FetchError(self._sentence(request, _NO_REDIRECT)) from None
        except httpx.LocalProtocolError:
            what = "cannot be asked for: a header or a credential holds what HTTP cannot carry (a line break?); correct it"
            raise FetchError(self._sentence(request, what)) from None
        except (TooMuch, Undecodable) as error:
            raise FetchError(self._sentence(request, str(error))) from None
        except BrokeOff:
            raise _NoAnswer("the answer broke off") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            if isinstance(error.__context__, httpx.InvalidURL):
                raise FetchError(self._sentence(request, _NO_REDIRECT)) from None
            raise _NoAnswer(_cause(error)) from None
        return _Answer(response.status_code, headers, body, response.has_redirect_location, self.clock.monotonic() - started)

    def _body(self, response: httpx.Response, headers: Mapping[str, str], started: float) -> bytes:
        """The body, whole. Of what is no list anyway, nothing where it cannot be read: its status says enough."""
        limits = self.api.limits
        try:
            if response.is_stream_consumed:  # a transport of tests has read it already
                check_body(len(response.content), limits)
                return response.content
            return whole_body(self._in_time(response, started), headers, limits)
        except (httpx.TransportError, BrokeOff, TooMuch, Undecodable):
            if response.status_code in _WHOLE:
                raise
            return b""

    def _in_time(self, response: httpx.Response, started: float) -> Iterator[bytes]:
        """The bytes as they come. Raises httpx.ReadTimeout when the time for the whole answer is over."""
        end = started + self.api.retry.timeout.seconds
        # httpx counts anew at each read; what the headers took must not be had a second time
        response.request.extensions["timeout"]["read"] = max(end - self.clock.monotonic(), 0.001)
        for chunk in response.iter_raw():
            if self.clock.monotonic() > end:
                raise httpx.ReadTimeout("")
            yield chunk

    def _page(self, request: Request, answer: _Answer, sent: int, told: Told | None = None, message: str | None = None) -> Page:
        kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        return Page(request, answer.status, kept, answer.body, sent, answer.seconds, told, message or "")

    def _signed(self, request: Request, conditions: Mapping[str, str]) -> httpx.Request:
        try:
            self.egress.check(request.url)
        except NotThere as error:
            why = f"is not on {self.egress.home}, where {self.label} is"
            if origin_of(request.url) in map(origin_of, self.egress.others):
                why = str(error)
            shown = self.settings.hide(request.url)
            raise Astray(f"{shown} {why}; its links are not followed to other hosts, where credentials and data would leak") from None
        except OSError:
            raise _NoAnswer("the host's name is not known") from None
        sent = self.settings.unmasked(request)
        declared = {name: value.render(self.settings.values) for name, value in self.api.headers.items()}
        headers = {} if sent.body is None else {"Content-Type": "application/json"}
        headers |= declared | dict(request.headers) | dict(conditions)
        try:
            return self._client.build_request(sent.method, sent.full_url, headers=headers, content=sent.body)
        except (httpx.InvalidURL, ValueError) as error:
            raise FetchError(
                self._sentence(request, f"cannot be asked for ({type(error).__name__}); correct the URL or the headers")
            ) from None

    def _redirected(self, request: Request, answer: _Answer, tries: _Tries) -> Request:
        most = self.api.limits.redirects
        try:
            moved = self.settings.masked(self.settings.unmasked(request).moved(answer.headers["location"]))
        except ValueError:
            raise FetchError(self._sentence(request, _NO_REDIRECT)) from None
        if answer.status == 303:  # RFC 9110, 15.4.4; with the others, a search must stay one
            moved = moved.without_body()
        tries.passed.append(request)
        if moved in tries.passed and "set-cookie" not in answer.headers:
            raise FetchError(self._sentence(request, "redirects in a circle; correct the path, or the base URL"), answer.status)
        if len(tries.passed) > most:
            what = f"redirects more than {most} times; correct the path, or raise `api.limits.redirects`"
            raise FetchError(self._sentence(request, what), answer.status)
        return moved

    def _try_again(self, request: Request, tries: _Tries, answer: _Answer | None, why: str) -> None:
        """Wait for another try. Raises FetchError where there is none."""
        retry, epoch = self.api.retry, self.clock.time()
        status = answer.status if answer else None
        asked = self._asked(answer, epoch) if answer else None
        if tries.refused < _MOST_REFUSALS and (asked or self._is_refused_by_budget(status)):
            tries.refused += 1
            if asked is None:
                return
            note = "the API asks for it"
        else:
            tries.failed += 1
            note = f"try {tries.failed}"
        tried = f", tried {tries.failed} times" if tries.failed > 1 else ""
        if tries.failed >= retry.attempts:
            hint = _hint(status) if status in retry.statuses else ""  # a rule that retries has words of its own
            raise FetchError(self._sentence(request, f"{why}{tried}{hint}"), status)
        wait = asked or retry.wait(tries.failed, self.clock.dice())
        left = retry.total_wait.seconds - tries.waited
        if wait > left:
            what = f"the next try would be beyond `retry.total_wait` ({retry.total_wait})"
            if asked:
                until = times.show(int(epoch + asked) * times.SECOND)
                what = f"the API asks to wait {ceil(asked):,} s, until {until}, and `retry.total_wait` leaves {left:,.0f} s"
            raise FetchError(self._sentence(request, f"{why}{tried}; {what}; what was received is kept, and a later run goes on"), status)
        tries.waited += wait
        self.waiting(wait, f"{why}, {note}")
        self.clock.sleep(wait)

    def _asked(self, answer: _Answer, epoch: float) -> float | None:
        """Seconds that the API asks to wait: in so many words, or, where it refuses, by the usual headers of what is left."""
        asked = self.api.retry.asked(answer.headers, epoch)
        if asked or answer.status != 429 or any(budget.names_headers for budget in self.api.budgets):
            return asked
        quota = told_by(answer.headers, epoch)
        return quota.reset or None if quota else None

    def _account_name(self) -> str:
        scheme, values = self._signature.scheme, self._signature.values
        public = scheme.public(values)
        is_secret = self.settings.hide(public) != public
        return account_name(self.egress.home, "" if is_secret else public, repr(sorted(values.items())))

    def _is_refused_by_budget(self, status: int | None) -> bool:
        return status == 429 and any(one.reset_header for one in self.api.budgets)

    def _failure(self, request: Request, status: int, attempts: int) -> Exception:
        if status == 401:
            who = self._signature.scheme.who(self._signature.values)
            return Refused(f"{self.label} refused the credentials of {who} (401 from {self.shown(request)}); correct them")
        if status == 403:
            who = self._signature.scheme.who(self._signature.values)
            why = f"403: {who} may not read this; give that account a role that may, or leave the collection out with --select"
            return FetchError(self._sentence(request, why))
        tried = f", tried {attempts} times" if attempts > 1 else ""
        return FetchError(self._sentence(request, f"status {status}{tried}{_hint(status)}"), status)

    def _sentence(self, request: Request, what: str) -> str:
        return f"{request.method} {self.shown(request)}: {what}"


class _Signature(httpx.Auth):
    """An auth scheme as httpx drives it: at send time, on the request that leaves."""

    def __init__(self, scheme: Auth, values: dict[str, str]) -> None:
        self.scheme, self.values = scheme, values

    def bearing(self, access_token: str) -> _Signature:
        """The same with an access token, where the scheme has such."""
        return _Signature(self.scheme, {**self.values, "access_token": access_token}) if access_token else self

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        yield from self.scheme.flow(request, self.values)


class _Answer(Struct, frozen=True):
    """What came back; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_redirect: bool
    seconds: float


@dataclass
class _Tries:
    """What became of a request so far."""

    sent: int = 0
    failed: int = 0
    refused: int = 0
    """How often the API asked to wait."""
    waited: float = 0.0
    passed: list[Request] = field(default_factory=list)
    """The requests that redirects led away from."""
    access_token: str = field(default="", repr=False)
    """That the last of them went out with, where the scheme has such tokens."""
    not_taken: str = field(default="", repr=False)
    """The one that the API answered 401 to."""


class _NoAnswer(Exception):
    """None came that is whole; the message says why, in few words."""


def _reason(status: int, message: str | None = None) -> str:
    return f"{message} (status {status})" if message else f"status {status}"


def _hint(status: int | None) -> str:
    """What to do about it, behind the sentence; of no answer at all, the causes say it."""
    return _HINTS.get(status or 0, _IN_TROUBLE if status and status >= 500 else "")


def _cause(error: httpx.RequestError) -> str:
    """What went wrong, in few words: a transport's own message may hold a URL with a key in it."""
    names = {
        httpx.ConnectError: "cannot connect", httpx.ConnectTimeout: "cannot connect in time",
        httpx.ReadTimeout: "time-out; `retry.timeout` is for how long an answer may take",
        httpx.RemoteProtocolError: "the answer broke off", httpx.ReadError: "the connection broke",
        httpx.DecodingError: "the answer does not decompress",
    }  # fmt: skip
    return names.get(type(error), type(error).__name__)
