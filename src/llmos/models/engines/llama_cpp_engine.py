"""An engine over a GGUF file: llama.cpp, in this process, by `pip install xllamacpp`.

llama.cpp is asked through its own server on the loopback interface, as any service is. A file that
`llmos export --to gguf` wrote holds its tokenizer; then llama.cpp is given tokens, not text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.errors import ModelError
from llmos.models.chat import prompt_tokens
from llmos.models.engines.engine import Request, UnsupportedError
from llmos.models.engines.remote import AT_ONCE, RemoteEngine
from llmos.models.engines.room import room_behind
from llmos.models.engines.service import Service
from llmos.models.framing import document_tokens
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import ROLES, Vocabulary

EXTRA = "pip install xllamacpp gguf"
LONGEST_CONTEXT = 8192
"""Tokens, unless more are asked for: the memory of a longer one is taken from the beginning."""


class LlamaCppEngine(RemoteEngine):
    """Answers with the model in a GGUF file. See `engine.Engine`.

    `context_length` is for each of `streams` texts that are written at once; None: the model's, of
    at most `LONGEST_CONTEXT`. It has no likelihoods: llama.cpp's server tells none of a prompt.
    Raises `ModelError` where the file cannot be loaded.
    """

    def __init__(
        self,
        file: Path | str,
        *,
        context_length: int | None = None,
        streams: int = AT_ONCE,
        threads: int = 0,
    ) -> None:
        file = Path(file)
        facts = _facts(file)
        self._words = _vocabulary(facts)
        trained = int(facts.get(f"{facts.get('general.architecture')}.context_length", 2048))
        length = context_length or min(trained, LONGEST_CONTEXT)
        key = token_hex(16)
        # Kept for as long as the engine: what it holds ends with it.
        self._server = _server(file, facts, length * streams, streams, threads, key)
        address = self._server.listening_address
        super().__init__(address, service=Service(address, key=key))
        self.name = str(file)
        self.context_length = length

    def count_tokens(self, text: str) -> int:
        return super().count_tokens(text) if self._words is None else len(self._words.encode(text))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        raise UnsupportedError(f"{self.name} gives no vectors: serve the model folder for them")

    def _body(self, request: Request) -> tuple[str, dict[str, Any]]:
        words, prompt = self._words, request.prompt
        path, body = super()._body(request)
        # llama.cpp's server has other defaults: it would sample from the 40 likeliest.
        body |= {
            "top_k": request.decoding.top_k,
            "min_p": 0.0,
            "repeat_last_n": self.context_length,
        }
        if request.decoding.json_schema is not None:
            # Its completions know no `response_format`, and would write whatever they like.
            body.pop("response_format")
            body["json_schema"] = dict(request.decoding.json_schema)
        if words is None or isinstance(prompt, tuple):
            return path, body
        if not request.messages:
            body["prompt"] = self._fitting(document_tokens(words, prompt))
        elif all(role in words.roles for role in ROLES):
            del body["messages"]
            body.pop("top_logprobs", None)
            if request.decoding.logprobs is not None:
                body["logprobs"] = request.decoding.logprobs
            body["prompt"] = self._fitting(prompt_tokens(words, request.messages))
            return "/completions", body
        return path, body

    def _fitting(self, ids: list[int]) -> list[int]:
        room_behind(len(ids), self.context_length)
        return ids


def _facts(file: Path) -> dict[str, Any]:
    """What a GGUF file says of itself, but for its lists."""
    if not file.is_file():
        raise ModelError(f"{file} is no file: give a GGUF file")
    try:
        import gguf
    except ImportError as error:
        raise ModelError(f"{file} is a model of llama.cpp: {EXTRA}") from error
    try:
        fields = gguf.GGUFReader(file).fields
    except (ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{file} is no GGUF file ({error}): export or fetch it again") from error
    is_list = gguf.GGUFValueType.ARRAY
    return {name: field.contents() for name, field in fields.items() if is_list not in field.types}


def _vocabulary(facts: dict[str, Any]) -> Vocabulary | None:
    """Of the tokenizer.json in the file; None where there is none."""
    content = facts.get("tokenizer.huggingface.json")
    if not content:
        return None
    name = "tokenizer.ggml.{}_token_id"
    ids = {
        "eos_token_id": facts.get(name.format("eos")),
        "bos_token_id": facts.get(name.format("bos")),
        "pad_token_id": facts.get(name.format("padding")),
    }
    return Vocabulary.of(tokenizer_from_bytes(content.encode()), ids)


def _server(
    file: Path, facts: dict[str, Any], context: int, streams: int, threads: int, key: str
) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelError(f"{file} is a model of llama.cpp: {EXTRA}") from error
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel = context, streams
    settings.api_keys = [key]
    settings.fit_params = settings.warmup = settings.ui = False
    settings.verbosity = 0
    if threads:
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    if facts.get("general.file_type") == 0:  # all weights are float32: so is what is kept of texts
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    try:
        return xllamacpp.Server(settings)
    except Exception as error:  # the binding raises what C++ does
        raise ModelError(f"{file} cannot be loaded by llama.cpp ({error})") from error
