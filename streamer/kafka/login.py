"""How clients log in to the brokers: by password, by OAuth token or by Amazon's signature, afresh at each connection.

aiokafka never logs in again on a connection that lasts (KIP-368). A broker that limits the life of a login
(``connections.max.reauth.ms``) cuts the connection at its end, and the client opens another one: nothing is lost by it.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from abc import abstractmethod
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from streamer.config import KafkaConfig
from streamer.errors import ConfigError
from streamer.logs import hide_for_a_while
from streamer.model import Secret

_TOKEN_SECONDS = 30.0
_SPARE_SECONDS = 30.0
"""A token is replaced so long before its end: until the broker has looked at it, it has to be good."""


def login_options(config: KafkaConfig) -> dict[str, Any]:
    """What aiokafka's clients take for the configured way to log in."""
    match config.sasl_mechanism:
        case "OAUTHBEARER" | "AWS_MSK_IAM":
            return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _tokens_for(config)}
        case _:
            assert config.sasl_password is not None  # noqa: S101 (for mypy; the settings have checked it)
            return {
                "sasl_mechanism": config.sasl_mechanism,
                "sasl_plain_username": config.sasl_username,
                "sasl_plain_password": PresentPassword(config.sasl_password),
            }


def _tokens_for(config: KafkaConfig) -> AbstractTokenProvider:
    """One provider for all clients of the process, so that they share a token."""
    who = (config.sasl_mechanism, config.oauth_token_url, config.oauth_client_id, config.oauth_scope, config.aws_region)
    if who not in _providers:
        if config.aws_region:
            _providers[who] = MskSignature(config.aws_region)
        else:
            url, client_id, secret = config.oauth_token_url, config.oauth_client_id, config.oauth_client_secret
            assert url and client_id and secret  # noqa: S101, PT018 (for mypy; the settings have checked it)
            _providers[who] = ClientCredentials(url, client_id, secret, config.oauth_scope)
    return _providers[who]


_providers: dict[tuple[str | None, ...], AbstractTokenProvider] = {}


class PresentPassword(str):
    """A password as aiokafka takes it, which remembers where a newer one is to be had."""

    __slots__ = ("_secret",)

    def __new__(cls, secret: Secret) -> PresentPassword:
        password = super().__new__(cls, secret.reveal())
        password._secret = secret
        return password

    _secret: Secret

    def present(self) -> str:
        """The password as it is by now."""
        return self._secret.reveal()

    def __repr__(self) -> str:
        return repr(self._secret)


class TokenError(KafkaError):  # type: ignore[misc]
    """No token could be had, so no connection: for aiokafka one more way in which a connection fails."""

    retriable = True


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """A token for every connection, the same one until shortly before its end."""

    def __init__(self) -> None:
        self._token = ""
        self._good_until = 0.0

    async def token(self) -> str:
        """A token that is good for a while yet. Raises ``TokenError``."""
        now = asyncio.get_running_loop().time()
        if now >= self._good_until:
            token, seconds = await self._ask()
            if token != self._token:
                hide_for_a_while(Secret(token))
            self._token, self._good_until = token, now + seconds - min(_SPARE_SECONDS, seconds / 2)
        return self._token

    @abstractmethod
    async def _ask(self) -> tuple[str, float]:
        """A new token, and for how many seconds from now it is good."""


class _Granted(msgspec.Struct):
    """The answer of a token server (RFC 6749, section 5.1)."""

    access_token: str
    expires_in: float = 0.0


class ClientCredentials(_Tokens):
    """Access tokens by client credentials (RFC 6749, section 4.4)."""

    def __init__(self, url: str, client_id: str, client_secret: Secret, scope: str | None) -> None:
        super().__init__()
        self._url = url
        self._client_id = client_id
        self._client_secret = client_secret
        self._form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}

    async def _ask(self) -> tuple[str, float]:
        login = aiohttp.encode_basic_auth(quote(self._client_id, safe=""), quote(self._client_secret.reveal(), safe=""))
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TOKEN_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Authorization": login},
        )
        try:
            async with session, session.post(self._url, data=self._form, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise TokenError(f"the token server answered with status {answer.status} (kafka.oauth_token_url)")
                granted = msgspec.json.decode(await answer.read(), type=_Granted)
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            # Its class alone: the text may hold more than may be shown.
            raise TokenError(f"no token from kafka.oauth_token_url: {type(error).__name__}") from None
        return granted.access_token, granted.expires_in


class MskSignature(_Tokens):
    """Tokens that Amazon's signer makes of the AWS credentials of the environment: of the pod's role, most often."""

    def __init__(self, region: str) -> None:
        super().__init__()
        self._region = region
        try:
            self._signer = importlib.import_module("aws_msk_iam_sasl_signer.MSKAuthTokenProvider")
        except ImportError:
            problem = "AWS_MSK_IAM needs the extra: pip install 'streamer[msk]'"
            raise ConfigError("kafka.sasl_mechanism", problem) from None

    async def _ask(self) -> tuple[str, float]:
        # In a thread: credentials may come from a file, a metadata server or a program.
        generate = self._signer.generate_auth_token
        try:
            token, ends_at = await asyncio.to_thread(generate, self._region)
        except Exception as error:  # of the signer, of botocore, of whatever gives the credentials
            raise TokenError(f"no token by AWS credentials: {type(error).__name__}") from None
        return token, ends_at / 1000 - time.time()
