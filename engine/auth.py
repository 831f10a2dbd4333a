"""How requests prove who asks: one class a scheme. Pure; no scheme opens a socket.

A scheme is a flow over requests (`yield request`, get the response back), driven by `fetch` at send time on a copy of the
stored request, and only towards the origin of the API's base URL. What it needs it renders from the settings.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec.structs import asdict

from .fields import HEADER, Doc
from .grant import Grant
from .kinds import Kind, kind
from .template import MissingSetting, Template

if TYPE_CHECKING:
    import httpx

    Flow = Generator[httpx.Request, httpx.Response, None]


class Auth(Kind, frozen=True, kw_only=True):
    """How requests prove who asks."""

    family: ClassVar[str] = "auth"
    alternatives: ClassVar[dict[str, type[Kind]]] = {}

    def chosen(self, settings: Mapping[str, str]) -> Auth:
        """The scheme that these settings are enough for: itself. Raises MissingSetting."""
        self.rendered(settings)
        return self

    def rendered(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Its templates, filled in. Raises MissingSetting with every name that is missing, not just the first."""
        needed = {name: template for name, template in asdict(self).items() if isinstance(template, Template)}
        if missing := sorted(set().union(*(template.settings for template in needed.values())) - settings.keys()):
            raise MissingSetting(*missing)
        return {name: template.render(settings) for name, template in needed.items()}

    def who(self, values: Mapping[str, str]) -> str:
        """Whom the API would know by it, for an error: never a secret."""
        return f"the {self.name} credentials"

    def public(self, values: Mapping[str, str]) -> str:
        """What of it tells one account from another and is no secret; empty where there is nothing of that sort."""
        return ""

    def grant(self, values: Mapping[str, str]) -> Grant | None:
        """What access tokens are got for, where the scheme needs any: `flow` then finds the one to use among its values."""
        return None

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        """Put the credentials on, with the rendered values."""
        raise NotImplementedError


@kind("none")
class NoAuth(Auth, frozen=True, kw_only=True):
    """Nothing is asked for."""

    def public(self, values: Mapping[str, str]) -> str:
        return "nobody"

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        yield request


@kind("basic")
class Basic(Auth, frozen=True, kw_only=True):
    """User name and password (RFC 7617)."""

    username: Annotated[Template, Doc("the user's name, often an e-mail address")]
    password: Annotated[Template, Doc("the password; some APIs take a key here, or nothing")]

    def who(self, values: Mapping[str, str]) -> str:
        return f"user {values['username']!r}"

    def public(self, values: Mapping[str, str]) -> str:
        return self.who(values)

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        pair = f"{values['username']}:{values['password']}".encode()
        request.headers["Authorization"] = "Basic " + b64encode(pair).decode()
        yield request


@kind("bearer")
class Bearer(Auth, frozen=True, kw_only=True):
    """A token that speaks for its bearer (RFC 6750)."""

    token: Annotated[Template, Doc("the token")]

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        request.headers["Authorization"] = f"Bearer {values['token']}"
        yield request


@kind("api_key")
class ApiKey(Auth, frozen=True, kw_only=True):
    """A key in a header or in the query."""

    key: Annotated[Template, Doc("the key")]
    header: Annotated[str | None, Doc("the header that takes it", HEADER)] = None
    query: Annotated[str | None, Doc("the parameter that takes it; a header is safer, for URLs are logged on their way")] = None
    prefix: Annotated[str, Doc("what stands before the key in the header, with its blank: 'Token '")] = ""

    def mistakes(self) -> list[str]:
        """What no schema can see, for the one who writes the spec."""
        one = (self.header is None) != (self.query is None)
        return [] if one else ["a key goes into a header or into the query; give one of `header` and `query`"]

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        if self.header:
            request.headers[self.header] = self.prefix + values["key"]
        if self.query:
            request.url = request.url.copy_set_param(self.query, values["key"])
        yield request


@kind("oauth1")
class OAuth1(Auth, frozen=True, kw_only=True):
    """A signature over each request, in its header (OAuth 1.0a, RFC 5849): of an application, for a user."""

    consumer_key: Annotated[Template, Doc("the application's key")]
    consumer_secret: Annotated[Template, Doc("the application's secret")]
    token: Annotated[Template, Doc("the user's token")]
    token_secret: Annotated[Template, Doc("the user's token secret")]
    method: Annotated[Literal["HMAC-SHA1"], Doc("how the signature is made")] = "HMAC-SHA1"

    def who(self, values: Mapping[str, str]) -> str:
        return f"the application with consumer key {values['consumer_key'][:4]}… and its token"

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        from oauthlib.oauth1 import Client

        client = Client(
            values["consumer_key"],
            client_secret=values["consumer_secret"],
            resource_owner_key=values["token"],
            resource_owner_secret=values["token_secret"],
            signature_method=self.method,
        )
        _, headers, _ = client.sign(str(request.url), http_method="POST" if request.method == "POST" else "GET")
        request.headers["Authorization"] = headers["Authorization"]
        yield request


@kind("oauth2_refresh_token")
class OAuth2RefreshToken(Auth, frozen=True, kw_only=True):
    """Access tokens of a token server, for a refresh token that a user gave once (OAuth 2.0, RFC 6749, section 6).

    Where each use replaces the refresh token, the newest is kept beside the hub, and no run loses it. Of a hub in a bucket, that is
    on the machine that runs: a token that is replaced at each use serves one machine only.
    """

    token_url: Annotated[Template, Doc("where access tokens are given")]
    client_id: Annotated[Template, Doc("the application's name at the token server")]
    client_secret: Annotated[Template | None, Doc("the application's secret, if it has one")] = None
    refresh_token: Annotated[Template, Doc("the token that authorizing the application gave; a new one is given the same way")]
    scope: Annotated[str | None, Doc("what the access tokens are to be good for, if the server wants it said")] = None
    client_in: Annotated[
        Literal["body", "header"], Doc("where the application proves who it is: in the form, or in a header as Basic auth has it")
    ] = "body"

    def who(self, values: Mapping[str, str]) -> str:
        return f"the application {values['client_id']!r} and its refresh token"

    def grant(self, values: Mapping[str, str]) -> Grant:
        setting = ", ".join(sorted(self.refresh_token.settings))
        secret, in_header = values.get("client_secret", ""), self.client_in == "header"
        return Grant(
            values["token_url"], values["client_id"], secret, values["refresh_token"], setting, scope=self.scope or "", in_header=in_header
        )

    def flow(self, request: httpx.Request, values: Mapping[str, str]) -> Flow:
        request.headers["Authorization"] = f"Bearer {values['access_token']}"
        yield request


@kind("choice")
class Choice(Auth, frozen=True, kw_only=True):
    """Several schemes; the first whose settings are all given is taken."""

    among: Annotated[tuple[Auth, ...], Doc("the schemes, in the order of preference", {"minItems": 2})]

    def chosen(self, settings: Mapping[str, str]) -> Auth:
        missing: list[tuple[str, ...]] = []
        for scheme in self.among:
            try:
                return scheme.chosen(settings)
            except MissingSetting as error:
                missing.append(error.names)
        raise MissingSetting(*min(missing, key=len))
