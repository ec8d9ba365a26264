"""An engine over the URL of an OpenAI-compatible service: vLLM, SGLang, llama.cpp, GPT, ERNIE.

    engine = RemoteEngine("http://localhost:8000/v1")
    engine = RemoteEngine("https://api.openai.com/v1#gpt-4.1")     # of several models, this one

What is asked goes to that service. What it cannot do it is not asked to do: see `UnsupportedError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import httpx2 as httpx
import numpy as np
import numpy.typing as npt

from llmos.errors import ModelError, UsageError
from llmos.models.engines.engine import (
    Kind,
    Likelihood,
    Piece,
    Request,
    TokenLogprob,
    UnsupportedError,
)
from llmos.models.engines.service import Service

AT_ONCE = 8
"""Requests under way at the same time: the service batches them."""
TEXTS = 64
"""Texts of one request for embeddings."""
_SAME = ("id", "root", "parent", "meta", "fingerprint")
"""What tells one model from another: OpenAI's, vLLM's, llama.cpp's and ours. `created` does not: it
is the time of the answer with vLLM and llama.cpp."""
_LENGTHS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Where services write a model's context: vLLM and SGLang, OpenRouter, Groq, LM Studio."""


class RemoteEngine:
    """Answers with a model behind a URL. See `engine.Engine`.

    The model is named behind `#`, or by `model`; else it is the only one that the service has. The
    key comes from `key` or the environment (`service.KEY`). `context_length` is 0 where the service
    does not say it; `identity` is what it says that changes with the model, as far as it does.
    Raises `ModelError` where the service cannot be reached, `UsageError` where the URL does not say
    which of several models is meant.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        key: str | None = None,
        kind: Kind | None = None,
        service: Service | None = None,
    ) -> None:
        self._service = Service(url, key=key) if service is None else service
        record = self._record(model or httpx.URL(url).fragment)
        self.model: str = record["id"]
        self.name: str = f"{self._service.url}#{self.model}"
        self.identity = json.dumps({n: record.get(n) for n in _SAME}, sort_keys=True)
        # What a decoder alone can do is asked for, unless the service says more, as llmos's does.
        stated: Any = record.get("kind")
        self.kind: Kind = kind or (stated if stated in get_args(Kind) else "decoder")
        self._has_watermark = record.get("owned_by") == "llmos"
        lengths = [record[name] for name in _LENGTHS if record.get(name)]
        lengths += [(record.get("meta") or {}).get("n_ctx") or 0]  # llama.cpp
        self.context_length: int = int(lengths[0])
        self._limit = "max_tokens"

    def _record(self, model: str) -> dict[str, Any]:
        """What the service's list says of the model."""
        try:
            listed = self._service.get("/models").get("data") or []
        except (UnsupportedError, UsageError):  # ERNIE's and others have no list
            listed = []
        found = [record for record in listed if model in ("", record.get("id"))]
        if model:
            # A name that is not listed may still be known: a snapshot, a fine-tuned model.
            return found[0] if found else {"id": model}
        if len(found) != 1 or not found[0].get("id"):
            names = ", ".join(str(record.get("id")) for record in listed[:8]) or "none it tells"
            raise UsageError(
                f"{self._service.url} has the models: {names}; name one, as in "
                f"{self._service.url}#NAME"
            )
        return dict(found[0])

    def stream(self, request: Request) -> Iterator[Piece]:
        path, body = self._body(request)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        finish, count = "", 0
        usage: dict[str, Any] = {}
        events = self._switching(lambda b: _first(self._service.events(path, b)), body)
        for event in events:
            usage = event.get("usage") or usage
            for choice in event.get("choices") or []:
                finish = choice.get("finish_reason") or finish
                delta = choice.get("delta") or choice
                text = delta.get("content") or delta.get("text") or ""
                count += bool(text)
                logprobs = _logprobs(choice)
                if text or logprobs:
                    yield Piece(text, logprobs)
        if not finish:
            raise ModelError(f"{self.name} broke off before the end: try again")
        yield _last("", (), finish, usage, count)

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        bodies = [self._body(request) for request in requests]  # mistakes show before any is sent
        return self._each(self._write_one, bodies)

    def _write_one(self, asked: tuple[str, dict[str, Any]]) -> Piece:
        path, body = asked
        found = self._switching(lambda b: self._service.post(path, b), body)
        choices = found.get("choices")
        if not choices:
            raise ModelError(f"{self.name} gave an answer without a choice: {str(found)[:200]}")
        choice = choices[0]
        text = (choice.get("message") or {}).get("content") or choice.get("text") or ""
        finish = choice.get("finish_reason") or "stop"
        return _last(text, _logprobs(choice), finish, found.get("usage") or {}, 0)

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The path and the JSON of a request. Raises `UnsupportedError`."""
        decoding = request.decoding
        for name, is_asked in (
            ("beams", decoding.num_beams > 1),
            ("watermark", decoding.watermark and not self._has_watermark),
        ):
            if is_asked:
                raise UnsupportedError(f"{self.name} has no {name}: the protocol knows none")
        if decoding.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens {decoding.max_new_tokens} is too few: use 1 or more")
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
        }
        if decoding.temperature:
            body["top_p"] = decoding.top_p  # some services have defaults of their own
        # Others are left out at their defaults: not every service knows them all.
        if decoding.temperature and decoding.top_k:
            body["top_k"] = decoding.top_k
        for name in ("frequency_penalty", "presence_penalty"):
            if getattr(decoding, name):
                body[name] = getattr(decoding, name)
        if decoding.repetition_penalty != 1:  # vLLM's and SGLang's name, then llama.cpp's
            body["repetition_penalty"] = body["repeat_penalty"] = decoding.repetition_penalty
        if decoding.stop:
            body["stop"] = list(decoding.stop)
        if decoding.seed is not None:
            body["seed"] = decoding.seed
        if decoding.json_schema is not None:
            schema = {"name": "answer", "schema": dict(decoding.json_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if decoding.watermark:
            body["watermark"] = True
        if request.messages:
            if decoding.logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": decoding.logprobs}
            body["messages"] = [dict(message) for message in request.messages]
            return "/chat/completions", body
        if decoding.logprobs is not None:
            body["logprobs"] = decoding.logprobs
        is_text = isinstance(request.prompt, str)
        body["prompt"] = request.prompt if is_text else list(request.prompt)
        return "/completions", body

    def _switching(self, send: Any, body: dict[str, Any]) -> Any:
        """What `send` gives; OpenAI's newer models call the limit of tokens by another name."""
        try:
            return send(self._named(body))
        except (UsageError, UnsupportedError) as error:
            if self._limit != "max_tokens" or "max_completion_tokens" not in str(error):
                raise
            self._limit = "max_completion_tokens"
            return send(self._named(body))

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        return {self._limit if name == "max_tokens" else name: body[name] for name in body}

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        return self._each(self._likelihood, pairs)

    def _likelihood(self, pair: tuple[str, str]) -> Likelihood:
        """From a completion that repeats its prompt, as lm-evaluation-harness asks for it.

        One token is written behind the prompt, which some services cannot leave out; a blank
        between the two belongs to the continuation.
        """
        context, continuation = pair
        first = len(context.rstrip())
        whole = context + continuation
        body = {"model": self.model, "prompt": whole, "max_tokens": 1, "temperature": 0}
        found = self._service.post("/completions", {**body, "logprobs": 1, "echo": True})
        values = (found.get("choices") or [{}])[0].get("logprobs") or {}
        starts, tokens = values.get("text_offset") or [], values.get("tokens") or []
        own, tops = values.get("token_logprobs") or [], values.get("top_logprobs") or []
        places = [at for at, start in enumerate(starts) if first <= start < len(whole)]
        is_told = len(starts) == len(tokens) == len(own) == len(tops) and bool(places)
        if len(whole) > first and (not is_told or any(own[at] is None for at in places)):
            raise UnsupportedError(f"{self.name} tells no log-probabilities of a prompt")
        is_greedy = all(max(tops[at], key=tops[at].get) == tokens[at] for at in places)
        return Likelihood(float(sum(own[at] for at in places)), len(places), is_greedy)

    def classify(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        raise UnsupportedError(f"{self.name} tells no labels apart: ask it in words")

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

    def spans(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
        raise UnsupportedError(f"{self.name} marks no answers in a text: ask it in words")

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        parts = [list(texts[at : at + TEXTS]) for at in range(0, len(texts), TEXTS)]
        found = self._each(self._embed_some, parts)
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def _embed_some(self, texts: list[str]) -> npt.NDArray[np.float32]:
        found = self._service.post("/embeddings", {"model": self.model, "input": texts})
        records = sorted(found.get("data") or [], key=lambda record: record.get("index", 0))
        if len(records) != len(texts):
            raise ModelError(f"{self.name} gave {len(records)} vectors for {len(texts)} texts")
        vectors = np.array([record["embedding"] for record in records], np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: npt.NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
        return scaled

    def count_tokens(self, text: str) -> int:
        """As the service counts. Raises `UnsupportedError` for one that does not tell."""
        # The first two names are vLLM's, the others llama.cpp's.
        body = {"model": self.model, "prompt": text, "add_special_tokens": False}
        body |= {"content": text, "add_special": False}
        found = self._service.post("/tokenize", body, at_root=True)
        if not isinstance(found.get("tokens"), list):
            raise UnsupportedError(f"{self.name} does not count tokens")
        return len(found["tokens"])

    def _each(self, do: Any, many: Sequence[Any]) -> list[Any]:
        """`do` of each, some at a time, in their order. The first to fail ends the rest."""
        if len(many) < 2:
            return [do(one) for one in many]
        with ThreadPoolExecutor(min(AT_ONCE, len(many))) as pool:
            try:
                return list(pool.map(do, many))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _first(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same events, but that a refusal is raised here and now."""
    begun = [event for event in [next(events, None)] if event is not None]

    def all_of_them() -> Iterator[dict[str, Any]]:
        try:
            yield from begun
            yield from events
        finally:
            events.close()  # type: ignore[attr-defined]

    return all_of_them()


def _last(
    text: str, logprobs: tuple[TokenLogprob, ...], finish: str, usage: dict[str, Any], count: int
) -> Piece:
    """The piece that ends a text; where the service does not tell, `count` are its new tokens."""
    return Piece(
        text,
        logprobs,
        "length" if finish == "length" else "stop",
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or count),
    )


def _logprobs(choice: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    """Of a chat's form, which llama.cpp uses for completions too, or of that of completions."""
    values = choice.get("logprobs") or {}
    if values.get("content"):
        return tuple(
            TokenLogprob(
                one["token"],
                one["logprob"],
                tuple((top["token"], top["logprob"]) for top in one.get("top_logprobs") or []),
            )
            for one in values["content"]
        )
    tokens, own = values.get("tokens") or [], values.get("token_logprobs") or []
    tops = values.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        TokenLogprob(token, value, tuple(sorted((top or {}).items(), key=lambda one: -one[1])))
        for token, value, top in zip(tokens, own, tops, strict=True)
    )
