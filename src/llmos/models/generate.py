"""Text from a model folder, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from llmos.errors import ModelError, UsageError
from llmos.models.folders import RESTORE, lacking, model_folder, read, read_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_causal_lm(folder: Path | str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer of a local folder, without running any code that it may hold.

    Raises `ModelError` where the folder does not hold them whole, as safetensors, or another kind
    of model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from llmos.models.engines.loading import head_of

    folder = model_folder(Path(folder))
    config = read(AutoConfig, folder)
    if head_of(config) not in ("causal_lm", None):
        raise ModelError(
            f"{folder} holds no decoder but {config.architectures[0]}, which continues no text: "
            "use the command of a task, such as llmos translate, ask or classify"
        )
    tokenizer = read(AutoTokenizer, folder)
    model, missing = read_model(AutoModelForCausalLM, folder)
    vocabulary = type(tokenizer).vocab_files_names.values()
    if vocabulary and not any((folder / name).exists() for name in vocabulary):
        raise ModelError(  # transformers would make up an empty one
            f"{folder} holds no tokenizer ({' or '.join(vocabulary)}): {RESTORE}"
        )
    if missing:
        raise lacking(folder, missing)
    model.eval()
    return model, tokenizer


def generate(
    folder: Path | str,
    prompt: str = "",
    *,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """Continue `prompt` and yield the new text as it appears; None means the folder's own default.

    `temperature` 0 takes the most likely token each time. `seed` makes sampling repeatable.
    An empty prompt begins a new document. Raises `UsageError` for values out of range and for a
    prompt that fills the context.
    """
    model, tokenizer = load_causal_lm(folder)
    return continue_text(
        model,
        tokenizer,
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
    )


def continue_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """As `generate`, with a model that is loaded already."""
    if temperature is not None and not 0 <= temperature <= 100:
        raise UsageError(f"temperature {temperature} is out of range: use 0 to 100")
    if top_k is not None and top_k < 1:
        raise UsageError(f"top_k {top_k} is out of range: use 1 or more")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise UsageError(f"max_new_tokens {max_new_tokens} is out of range: use 1 or more")
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    begin = tokenizer.bos_token_id
    if begin is not None:
        ids = [begin, *ids]
    if not ids:
        raise UsageError("the prompt is empty and the model has no token to begin with: give one")
    context = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    room = context - len(ids) if context else 1 << 20
    if room < 1:
        raise UsageError(
            f"the prompt has {len(ids)} tokens, the model's context {context}: shorten the prompt"
        )
    default = model.generation_config.max_new_tokens or room
    options: dict[str, Any] = {"max_new_tokens": min(max_new_tokens or default, room)}
    if temperature == 0:
        options |= {"do_sample": False, "temperature": None, "top_k": None}
    elif temperature is not None:
        options |= {"do_sample": True, "temperature": float(temperature)}
    if top_k is not None and temperature != 0:
        options["top_k"] = top_k
    return _stream(model, tokenizer, ids, options, seed)


def _stream(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    options: dict[str, Any],
    seed: int | None,
) -> Iterator[str]:
    """Run `model.generate` in a thread and yield its text; `ModelError` where it fails.

    A reader who closes the iterator early ends the thread at its next token.
    """
    import torch
    from transformers import StoppingCriteriaList, TextIteratorStreamer

    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    failures: list[BaseException] = []
    closed = Event()

    def is_closed(rows: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((len(rows),), closed.is_set(), device=rows.device)

    def work() -> None:
        try:
            if seed is not None:
                torch.manual_seed(seed)
            inputs = torch.tensor([ids])
            write: Any = model.generate
            write(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([is_closed]),
                **options,
            )
        except BaseException as error:  # handed to the reader below
            failures.append(error)
            streamer.on_finalized_text("", stream_end=True)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield from (piece for piece in streamer if piece)
    finally:
        closed.set()
        thread.join()
    if failures:
        raise ModelError(f"generation failed: {failures[0]}") from failures[0]
