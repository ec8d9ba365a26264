"""The hub that a run is published on: its address, who publishes, and what goes wrong on the way.

The files of a model go through huggingface_hub; what is LLMOS's own (runs, ledgers, progress) goes
to the hub's API as JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx

from llmos.errors import LLMOSError, UsageError

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
EXAMPLE = "https://hub.example.org/our-org/our-model"
SECONDS = 60.0


class HubAwayError(LLMOSError):
    """The hub cannot be reached, or fails; trying again later may help."""


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A repository's place: the hub's address, and owner/name there."""

    endpoint: str
    name: str

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Read HUB/owner/name, HUB being the hub's address. Raises `UsageError`."""
        hub, *named = text.rstrip("/").rsplit("/", 2)
        hub = re.sub(r"/(runs|datasets)$", "", hub)  # the address of its page
        if len(named) != 2 or not all(_NAME.fullmatch(part) for part in named) or not _is_hub(hub):
            raise UsageError(f"{text} is no place on a hub: write HUB/owner/name, as {EXAMPLE}")
        return cls(hub.rstrip("/"), "/".join(named))

    @classmethod
    def parse_hub(cls, text: str) -> HubAddress:
        """Read the address of a hub itself; `name` is "". Raises `UsageError`."""
        if not _is_hub(text):
            raise UsageError(f"{text} is no address of a hub: write it as https://hub.example.org")
        return cls(text.rstrip("/"), "")

    @property
    def url(self) -> str:
        """As it was given."""
        return f"{self.endpoint}/{self.name}".rstrip("/")


def _is_hub(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query
    except ValueError:
        return False


def token_for(address: HubAddress) -> str:
    """The token of HF_TOKEN, or of `hf auth login`. Raises `UsageError` where there is none."""
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise UsageError(
            f"no token for {address.endpoint}: set HF_TOKEN, or run hf auth login with "
            f"HF_ENDPOINT={address.endpoint}"
        )
    return str(token)


class HubSession:
    """Requests to the hub's own API. Use it in a `with` block."""

    def __init__(self, address: HubAddress, token: str, seconds: float = SECONDS) -> None:
        self.address = address
        self._client = httpx.Client(
            base_url=address.endpoint,
            headers={"Authorization": f"Bearer {token}"},
            timeout=seconds,
        )

    def __enter__(self) -> HubSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self, method: str, path: str, *, json: Any = None, content: bytes | None = None
    ) -> httpx.Response:
        """The answer, whatever its status, unless the hub is away.

        Raises `HubAwayError` where it cannot be reached or fails, `UsageError` for a token that it
        does not know.
        """
        try:
            answer = self._client.request(method, path, json=json, content=content)
        except httpx.HTTPError as error:
            raise HubAwayError(f"{self.address.endpoint} cannot be reached ({error})") from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise HubAwayError(f"{self.address.endpoint} fails ({said(answer)}): try again later")
        if answer.status_code == 401:
            raise UsageError(
                f"{self.address.endpoint} does not know the token: set HF_TOKEN to one of this hub"
            )
        return answer

    def done(self, method: str, path: str, **body: Any) -> Any:
        """The JSON of an answer that is no error. Raises `UsageError` with what the hub says."""
        answer = self.ask(method, path, **body)
        try:
            found = answer.json()
        except ValueError:
            raise UsageError(
                f"{self.address.endpoint} answers {path} with status {answer.status_code} and no "
                "JSON: check that it is the address of an LLMOS hub"
            ) from None
        if answer.is_error:
            raise UsageError(f"{self.address.endpoint} refuses: {said(answer)}")
        return found


def said(answer: httpx.Response) -> str:
    """What the hub says is wrong."""
    try:
        return f"{answer.status_code}: {answer.json()['error']}"
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status_code}"
