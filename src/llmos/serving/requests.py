"""What may be asked, checked field by field. Names and ranges are those of OpenAI's API.

Beyond it, as vLLM has them: `top_k`, `repetition_penalty`; and `watermark`.
Fields that are not known are left aside, so that newer clients go on working; fields that are known
but would change the answer and are not supported here are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from llmos.models.engines.engine import Decoding, Message
from llmos.serving.errors import APIError

MOST = 16
"""Texts for one prompt (`n`)."""
PROMPTS = 128
"""Prompts of one request, and texts of all of them."""
DEFAULT_TOKENS = 16
"""New tokens of a completion, as in OpenAI's API."""

Token = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _whole(text: str) -> str:
    text.encode()  # a lone surrogate, which JSON can hold and UTF-8 cannot, is a ValueError
    return text


Text = Annotated[str, AfterValidator(_whole)]
_NO_BLANK = Field(min_length=1, max_length=200)


class StreamOptions(BaseModel):
    include_usage: bool = False


class JSONSchema(BaseModel):
    name: str = "answer"
    json_schema: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JSONSchema | None = None

    def schema_wanted(self) -> dict[str, Any] | None:
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "object"}
        if self.json_schema is None:
            raise APIError(
                "response_format of type json_schema needs json_schema", param="response_format"
            )
        return self.json_schema.json_schema


class Writing(BaseModel):
    """What completions and chats have in common."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str
    n: int = Field(1, ge=1, le=MOST)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, le=1 << 20)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    repetition_penalty: float = Field(1.0, ge=0.1, le=10)
    stop: (
        Annotated[Text, _NO_BLANK]
        | Annotated[list[Annotated[Text, _NO_BLANK]], Field(max_length=4)]
        | None
    ) = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    watermark: bool = False
    logit_bias: dict[str, float] | None = None

    def decoding(self, number: int, limit: int, logprobs: int | None, marked: bool) -> Decoding:
        """How the text of this number (from 0) is to be written."""
        if self.logit_bias:
            raise APIError("logit_bias is not supported: leave it out", param="logit_bias")
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        wanted = self.response_format.schema_wanted() if self.response_format else None
        return Decoding(
            max_new_tokens=limit,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            repetition_penalty=self.repetition_penalty,
            stop=tuple(stop),
            seed=None if self.seed is None else self.seed + number,
            logprobs=logprobs,
            json_schema=wanted,
            watermark=self.watermark or marked,
        )

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionRequest(Writing):
    prompt: Text | list[Text] | list[Token] | list[list[Token]] = ""
    max_tokens: int | None = Field(None, ge=0, le=1 << 20)
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = Field(None, ge=1, le=MOST)

    def prompts(self) -> list[str | tuple[int, ...]]:
        """One or more. Raises `APIError` for what is not supported."""
        for name, is_asked in (
            ("suffix", bool(self.suffix)),
            ("best_of", (self.best_of or self.n) != self.n),
        ):
            if is_asked:
                raise APIError(f"{name} is not supported: leave it out", param=name)
        if self.echo and (self.stream or self.n > 1):
            raise APIError("echo goes with neither stream nor n: leave one out", param="echo")
        if self.max_tokens == 0 and not self.echo:
            raise APIError("max_tokens is 0, which goes with echo alone", param="max_tokens")
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if not given:
            raise APIError("prompt is empty: give a text, or tokens", param="prompt")
        if isinstance(given[0], int):
            return [tuple(given)]
        found = [one if isinstance(one, str) else tuple(one) for one in given]
        if len(found) * self.n > PROMPTS:
            raise APIError(
                f"{len(found)} prompts with n = {self.n} are more than {PROMPTS} texts: ask for "
                "fewer at a time",
                param="prompt",
            )
        return found


class Part(BaseModel):
    type: str
    text: Text = ""


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part] | None = ""

    def message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        parts = self.content or ""
        if isinstance(parts, str):
            return {"role": role, "content": parts}
        if other := [part.type for part in parts if part.type != "text"]:
            raise APIError(
                f"content of type {other[0][:40]!r} is not supported: give text", param="messages"
            )
        return {"role": role, "content": "".join(part.text for part in parts)}


class ChatRequest(Writing):
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    max_tokens: int | None = Field(None, ge=1, le=1 << 20)
    max_completion_tokens: int | None = Field(None, ge=1, le=1 << 20)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[dict[str, Any]] | None = None

    def all_messages(self) -> tuple[Message, ...]:
        if self.tools:
            raise APIError("tools are not supported: leave them out", param="tools")
        return tuple(message.message() for message in self.messages)


class EmbeddingsRequest(BaseModel):
    model: str
    input: Text | list[Text] | list[Token] | list[list[Token]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)

    def texts(self) -> list[str]:
        given = [self.input] if isinstance(self.input, str) else self.input
        if not given or len(given) > 2048:
            raise APIError(f"input has {len(given)} texts: give 1 to 2048", param="input")
        texts = [text for text in given if isinstance(text, str)]
        if len(texts) != len(given):
            raise APIError(
                "input is tokens, and those of another tokenizer mean nothing here: give text "
                "(LangChain: check_embedding_ctx_length=False)",
                param="input",
            )
        return texts
