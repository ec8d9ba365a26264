"""A model folder as an engine needs it: the model with its head, its vocabulary, its chat form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoTokenizer

from llmos.device import default_device
from llmos.errors import ModelError
from llmos.models.base import base_vocabulary
from llmos.models.chat import prompt_tokens
from llmos.models.engines.engine import Kind, Message, UnsupportedError
from llmos.models.families import HEADS
from llmos.models.folders import lacking, model_folder, read, read_model
from llmos.models.publish import longest_text
from llmos.models.speedups import give_back_memory
from llmos.models.vocabulary import ROLES, Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Version = tuple[tuple[str, int, int], ...]
UNSTATED_CONTEXT = 512
"""Tokens, where neither the model nor its tokenizer says how many: T5's (arXiv 1910.10683)."""
_ENDINGS = {
    "ForSequenceClassification": "classification",
    "ForQuestionAnswering": "extractive_qa",
    "ForMaskedLM": "encoder",
    "ForPreTraining": "encoder",
    "ForCausalLM": "causal_lm",
    "LMHeadModel": "causal_lm",
    "ForConditionalGeneration": "seq2seq",
}
"""What the name of the class that a model was saved from says of its head."""


@dataclass(frozen=True)
class Loaded:
    """A model folder that has been read.

    head: one of `HEADS`, or "encoder" for a network without a head of use here; ends: the tokens
    that end a text, of which some models have several; version: of the folder's weights.
    """

    folder: Path
    config: Any
    words: Vocabulary
    head: str
    context_length: int
    ends: frozenset[int]
    version: Version

    @classmethod
    def of(
        cls,
        folder: Path,
        model: PreTrainedModel,
        words: Vocabulary,
        head: str,
        version: Version = (),
    ) -> Loaded:
        """Of a model that is in memory."""
        settings = getattr(model, "generation_config", None)
        stated = getattr(settings, "eos_token_id", None)
        more = stated if isinstance(stated, list) else [stated]
        ends = frozenset({words.end, *(end for end in more if end is not None)})
        length = longest_text(model) or _stated_length(folder)
        found = cls(folder, model.config, words, head, length, ends, version)
        found.__dict__["model"] = model
        return found

    @cached_property
    def model(self) -> PreTrainedModel:
        """In eval mode on the default device. Read again after `forget_model`.

        Raises `ModelError` where the folder holds other weights by then.
        """
        if _version(self.folder) != self.version:
            raise ModelError(f"{self.folder} has been changed since it was opened: open it again")
        return _model(self.folder, self.head)

    def forget_model(self) -> None:
        """Give the memory of `model` back, until it is asked for."""
        self.__dict__.pop("model", None)
        give_back_memory()

    @property
    def kind(self) -> Kind:
        if self.head == "causal_lm":
            return "decoder"
        return "encoder-decoder" if self.head == "seq2seq" else "encoder"

    def chat_tokens(self, messages: Sequence[Message]) -> list[int]:
        """The ids that ask for the answer to `messages`.

        Raises `UnsupportedError` for a model that was made for no chats.
        """
        if all(role in self.words.roles for role in ROLES):
            return prompt_tokens(self.words, messages)
        if self.kind != "decoder" or not self._tokenizer.chat_template:
            raise UnsupportedError(f"{self.folder} has no chat template: give a prompt instead")
        found = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, return_dict=False
        )
        return list(found)

    @cached_property
    def _tokenizer(self) -> Any:
        return read(AutoTokenizer, self.folder)


def head_of(config: Any) -> str | None:
    """The head that a model was saved with (see `Loaded`); None where its class does not say."""
    named = (config.architectures or [""])[0]
    return next((head for ending, head in _ENDINGS.items() if named.endswith(ending)), None)


def load(folder: Path) -> Loaded:
    """The model of a folder (or of the run in it), from safetensors, without running its code.

    Raises `ModelError` where it is not whole.
    """
    folder = model_folder(folder)
    config = read(AutoConfig, folder)
    head = head_of(config) or "encoder"
    if head in ("causal_lm", "encoder") and config.is_encoder_decoder:
        head = "seq2seq"
    version = _version(folder)
    model = _model(folder, head)
    words = base_vocabulary(str(folder))
    return Loaded.of(folder, model, words, head, version)


def _model(folder: Path, head: str) -> PreTrainedModel:
    model, missing = read_model(HEADS.get(head, AutoModel), folder)
    # An encoder's pooler is of no use here, and not all of them have one.
    missing = tuple(name for name in missing if not name.startswith("pooler."))
    if missing:
        raise lacking(folder, missing)
    network: Any = model
    network.to(default_device()).eval()
    if model.can_generate():
        _reset(model)
    return model


def _version(folder: Path) -> Version:
    """Which files of weights there are, their sizes and when they were written."""
    states = ((file.name, file.stat()) for file in sorted(folder.glob("*.safetensors")))
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def _reset(model: PreTrainedModel) -> None:
    """Forget how the folder would write: a request says all of it."""
    settings = model.generation_config
    if settings is not None:
        for name in ("do_sample", "temperature", "top_k", "top_p", "max_new_tokens", "max_length"):
            setattr(settings, name, None)
        settings.num_beams = settings.repetition_penalty = None


def _stated_length(folder: Path) -> int:
    """The length that the tokenizer's file says."""
    file = folder / "tokenizer_config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise ModelError(f"{file} is not JSON ({error}): restore it") from error
    length = values.get("model_max_length")
    # Transformers writes 1e30 for "none".
    return int(length) if length and length < 1e9 else UNSTATED_CONTEXT
