"""A judge behind an OpenAI-compatible endpoint (``/chat/completions``)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from marco.config.redact import REDACTED
from marco.errors import ConfigError
from marco.evaluation.judge.prompts import Messages

#: Too many requests, and what a server that starts, restarts or is overloaded says.
TRY_AGAIN = (408, 429, 500, 502, 503, 504)
#: Waits double from this many seconds, up to `LONGEST_WAIT`; a Retry-After decides before that.
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
_SHOWN = 300


class JudgeError(Exception):
    """Why the endpoint gave no answer, in one line and without the key."""


@dataclass(frozen=True)
class Endpoint:
    """Where the judge is (``judge`` of ``conf/judge.yaml``).

    Attributes:
        url: up to ``/v1``; ``/chat/completions`` is added.
        model: its name there.
        key_variable: the environment variable with the API key, whose value is written nowhere;
            None: none is sent.
        parameters: of every request, as the endpoint takes them.
        concurrency: requests under way at once.
        timeout: seconds to wait for a connection, and for an answer.
        retries: tries after the first, after a time-out, a broken connection, or one of
            `TRY_AGAIN`.
    """

    url: str
    model: str
    key_variable: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    timeout: float = 300.0
    retries: int = 6

    def __post_init__(self) -> None:
        """Raise ConfigError, naming the key, for what cannot be."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"judge.url={self.url} should be the root of an OpenAI-compatible endpoint, such "
                "as http://localhost:8000/v1."
            )
        if parts.query or parts.username or parts.password:
            raise ConfigError(
                "judge.url should have no user, password or query: it is written down. A key "
                "comes from the environment: judge.key_variable=NAME."
            )
        if not self.model.strip():
            raise ConfigError("judge.model should be the judge's name at the endpoint.")
        if self.key_variable is not None and not re.fullmatch(
            r"[A-Z_][A-Z0-9_]*", self.key_variable
        ):
            raise ConfigError(
                "judge.key_variable should be the name of an environment variable, such as "
                "OPENAI_API_KEY, and not a key."
            )
        if reserved := {"model", "messages", "stream"} & self.parameters.keys():
            raise ConfigError(f"judge.parameters.{min(reserved)} is not a free one.")
        for key, least in (("concurrency", 1), ("retries", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"judge.{key}={getattr(self, key)} should be at least {least}.")
        if not self.timeout > 0:
            raise ConfigError(f"judge.timeout={self.timeout}: seconds, more than 0.")

    def key(self) -> str | None:
        """Return the API key. Raises ConfigError if its variable is not set."""
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise ConfigError(
                f"judge.key_variable={self.key_variable}: this environment variable is not set."
            )
        return key

    @property
    def identity(self) -> list[Any]:
        """What its answers depend on."""
        return [self.url.rstrip("/"), self.model, self.parameters]


class Judge:
    """Connections to an endpoint, to be used from several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect when first asked. Raises ConfigError where the key is missing."""
        self.endpoint = endpoint
        self._key = endpoint.key()
        retry = Retry(
            total=endpoint.retries,
            status_forcelist=TRY_AGAIN,
            allowed_methods=None,  # a completion asked for twice does no harm
            backoff_factor=FIRST_WAIT,
            backoff_max=LONGEST_WAIT,
            backoff_jitter=FIRST_WAIT,
            raise_on_status=False,
        )
        self._session = requests.Session()
        # Given a function, requests does not look for another key in ~/.netrc.
        self._session.auth = self._authorise
        for scheme in ("http://", "https://"):
            self._session.mount(
                scheme, HTTPAdapter(max_retries=retry, pool_maxsize=endpoint.concurrency)
            )

    def ask(self, messages: Messages) -> str:
        """Return what the judge says. Raises JudgeError after the last try."""
        where = self.endpoint
        try:
            response = self._session.post(
                f"{where.url.rstrip('/')}/chat/completions",
                json={**where.parameters, "model": where.model, "messages": messages},
                timeout=where.timeout,
            )
        except requests.RequestException as error:
            raise JudgeError(self._safe(_cause(error))) from None
        if not response.ok:
            raise JudgeError(self._safe(f"HTTP {response.status_code}: {_said(response)}"))
        try:
            choice = response.json()["choices"][0]
            text = choice["message"]["content"]
        except (ValueError, LookupError, TypeError):
            raise JudgeError(self._safe(f"no chat completion: {response.text}")) from None
        if not isinstance(text, str) or not text.strip():
            raise JudgeError(f"an empty answer (finish_reason: {choice.get('finish_reason')})")
        return text

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def check(self) -> None:
        """Ask for one verdict, so that a wrong address or key is known before hours of answers.

        Raises:
            ConfigError: there was no answer, nor at the second try.
        """
        hasty = Judge(replace(self.endpoint, retries=min(self.endpoint.retries, 1)))
        try:
            hasty.ask([{"role": "user", "content": "Reply with [[C]] and nothing else."}])
        except JudgeError as error:
            hint = ""
            if str(error).startswith(("HTTP 401", "HTTP 403")) and self._key is None:
                hint = " judge.key_variable=NAME says which environment variable has the key."
            raise ConfigError(
                f"judge.url={self.endpoint.url} does not judge: {error}.{hint}"
            ) from None
        finally:
            hasty.close()

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _safe(self, reason: str) -> str:
        """One short line; some servers repeat the key that they refuse."""
        line = " ".join(reason.split())
        line = line.replace(self._key, REDACTED) if self._key else line
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _said(response: requests.Response) -> str:
    """An error's message where it is in OpenAI's form, else the whole body."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return response.text or str(response.reason)


def _cause(error: requests.RequestException) -> str:
    """What lies behind "max retries exceeded"."""
    inner = error.args[0] if error.args else error
    cause = getattr(inner, "reason", None) or inner
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)
