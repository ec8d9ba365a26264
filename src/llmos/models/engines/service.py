"""Calls to an OpenAI-compatible service over HTTP: keys, retries, streams, errors in one line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import httpx2 as httpx

from llmos.errors import ModelError, UsageError
from llmos.models.engines.engine import UnsupportedError

KEY = "LLMOS_API_KEY"
"""The environment variable with the key to services."""
OPENAI_KEY = "OPENAI_API_KEY"
"""Sent to OpenAI alone: a key must not go to whatever service is asked."""
OPENAI_HOST = "api.openai.com"
RETRIES = 4
"""Further tries, after 1, 2, 4 and 8 seconds unless the service says when."""
LONGEST_WAIT = 60.0
"""Seconds; who asks for more patience is told to the user instead."""
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Answers after which OpenAI's own client tries again (`openai-python`, `_should_retry`)."""
TIMEOUT = httpx.Timeout(600.0, connect=10.0)
"""Seconds. A long text that is not streamed comes all at its end; OpenAI's client waits as long."""
_CANNOT = (
    "chat template",
    "chat_template",
    "chat/completions",
    "not supported",
    "not support ",
    "nsupported",
)
"""In the reason where a model was made for no chats (vLLM, llama.cpp), or for them alone (OpenAI),
or where a service does not know what it is asked for.
"""
LONGEST_REASON = 300
"""Characters of a service's own words in an error."""


class Service:
    """One service. Its methods may be called from several threads at once."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        retries: int = RETRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parsed = _parsed(url)
        self.url = str(parsed).rstrip("/")
        self.root = str(parsed.copy_with(path="/", query=None)).rstrip("/")
        self._retries, self._sleep = retries, sleep
        names = (KEY, OPENAI_KEY) if parsed.host == OPENAI_HOST else (KEY,)
        key = key or next((value for name in names if (value := os.environ.get(name))), None)
        self._key_name = names[-1]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout)

    def get(self, path: str) -> dict[str, Any]:
        """The JSON at `path`, relative to the service's URL. Raises `ModelError`."""
        return self._json("GET", f"{self.url}{path}", None)

    def post(self, path: str, body: Mapping[str, Any], *, at_root: bool = False) -> dict[str, Any]:
        """The JSON answer to `body`.

        Raises `UnsupportedError` where there is no such path, `UsageError` for a request that the
        service refuses, `ModelError` for what else goes wrong.
        """
        return self._json("POST", f"{self.root if at_root else self.url}{path}", body)

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The server-sent events (WHATWG HTML, 9.2) that answer `body`; raises as `post`."""
        url = f"{self.url}{path}"
        with self._open("POST", url, body) as response, self._told(url):
            for line in response.iter_lines():
                if not line.startswith("data:"):
                    continue
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                event = _object(data, url)
                if "error" in event:  # a stream that has begun has no other way to say so
                    raise ModelError(f"{url} broke off: {_reason(data)}")
                yield event

    def _json(self, method: str, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        with self._open(method, url, body) as response, self._told(url):
            response.read()
            return _object(response.text, url)

    @contextmanager
    def _open(
        self, method: str, url: str, body: Mapping[str, Any] | None
    ) -> Iterator[httpx.Response]:
        """A successful answer whose content is not read yet, after as many tries as it takes."""
        request = self._client.build_request(method, url, json=body)
        for left in range(self._retries, -1, -1):
            wait = 2.0 ** (self._retries - left)
            try:
                with self._told(url):
                    response = self._client.send(request, stream=True)
            except ModelError:
                # What is asked first, at `get`, tells a wrong URL, which no waiting mends.
                if not left or method == "GET":
                    raise
            else:
                if response.is_success:
                    break
                with self._told(url):
                    response.read()
                wait = max(wait, _stated_wait(response))
                if not left or response.status_code not in AGAIN or wait > LONGEST_WAIT:
                    self._refuse(response, url)
            self._sleep(wait)
        try:
            yield response
        finally:
            response.close()

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Errors of the network as `ModelError`."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise ModelError(f"{url} did not answer in time: try again later") from error
        except httpx.HTTPError as error:
            raise ModelError(
                f"{url} cannot be reached ({error}): check the URL and that the service runs"
            ) from error

    def _refuse(self, response: httpx.Response, url: str) -> NoReturn:
        """Raise what the status means."""
        status, reason = response.status_code, _reason(response.text)
        if status in (401, 403):
            raise ModelError(f"{url} refuses the key ({reason}): set {self._key_name}")
        is_no_path = status in (404, 405, 501) and "model" not in reason.lower()
        if is_no_path or any(words in reason for words in _CANNOT):
            raise UnsupportedError(f"{url} ({status}): {reason}")
        if status in (400, 413, 422):
            raise UsageError(f"{url} refuses the request: {reason}")
        raise ModelError(f"{url} answered {status}: {reason}")


def _parsed(url: str) -> httpx.URL:
    """Without a fragment; a URL that names a host alone gets the usual /v1."""
    try:
        found = httpx.URL(url).copy_with(fragment=None)
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is no URL ({error}): give one like https://host/v1") from error
    if found.scheme not in ("http", "https") or not found.host:
        raise UsageError(f"{url!r} is no URL of a service: give one like https://host/v1")
    return found.copy_with(path="/v1") if found.path in ("", "/") else found


def _stated_wait(response: httpx.Response) -> float:
    """The seconds of Retry-After (RFC 9110, 10.2.3); 0 where it says none, or gives a date."""
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _object(text: str, url: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ModelError(
            f"{url} gave no JSON ({text[:80]!r}): check that this is an OpenAI-compatible service"
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"{url} gave JSON that is no object: check that the URL ends in /v1")
    return found


def _reason(text: str) -> str:
    """What went wrong in the service's words, from OpenAI's form of an error or a plain text."""
    try:
        found = json.loads(text)
        error = found.get("error", found)
        words = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        words = text
    return " ".join(str(words).split())[:LONGEST_REASON] or "no reason given"
