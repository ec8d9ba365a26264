"""Trainings that one process and several must do alike. As a program: one process of several.

`python parallel_cases.py FOLDER` runs every case with both kinds of processes and writes what it
found into FOLDER/KIND-RANK.npz. Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForPreTraining,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from llmos.data.batches import IGNORE, Batch
from llmos.errors import LLMOSError
from llmos.recipe import TrainingSection
from llmos.training.loop import NotFiniteError, StepsReport, Trainer, use_deterministic
from llmos.training.objectives.token_loss import hidden_states, output_projection, token_loss_sum
from llmos.training.parallel import Processes, processes_from_environment

Found = dict[str, npt.NDArray[Any]]
VOCABULARY, LENGTH, ROWS, STEPS, STOP = 53, 8, 12, 6, 3
"""STOP: after so many of the STEPS a training is interrupted."""


class Rows:
    """Rows of random tokens, of which the later ones have far fewer labels."""

    def batch(self, step: int, batch_size: int) -> Batch:
        draw = np.random.Generator(np.random.Philox(key=[1, step]))
        tokens = draw.integers(0, VOCABULARY, (batch_size, LENGTH))
        labels = draw.integers(0, VOCABULARY, (batch_size, LENGTH))
        labels[batch_size // 3 :, 2:] = IGNORE
        first = np.full(batch_size, IGNORE)
        first[-1] = labels[-1, 0]
        return {
            "input_ids": tokens,
            "labels": labels,
            "first": first,
            "spoilt": np.where(np.arange(batch_size) == batch_size - 1, step, -1),
        }


class TwoLosses:
    """Every label, and the first of the last row only, so that most processes have none of it."""

    head = "causal_lm"
    record = "text"

    def __init__(self, spoilt_step: int | None = None) -> None:
        self.spoilt_step = spoilt_step
        self.drawn: list[float] = []

    def counts(self, batch: Batch) -> dict[str, int]:
        return {
            "every": int((batch["labels"] != IGNORE).sum()),
            "first": int((batch["first"] != IGNORE).sum()),
        }

    def tokens(self, batch: Batch) -> int:
        return batch["input_ids"].size

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        self.drawn.append(float(torch.rand(())))
        labels = batch["labels"].flatten()
        if getattr(model.config, "model_type", "") == "gpt2":  # as objectives without logits do
            head = output_projection(model)
            assert head is not None
            hidden = hidden_states(model, input_ids=batch["input_ids"], use_cache=False)
            every = token_loss_sum(hidden.flatten(0, 1), head.weight, labels)
            logits = hidden @ head.weight.T
        else:
            logits = logits_of(model, batch["input_ids"])
            every = functional.cross_entropy(logits.float().flatten(0, 1), labels, reduction="sum")
        if self.spoilt_step is not None and bool((batch["spoilt"] == self.spoilt_step).any()):
            every = every + float("nan")  # the loss alone: no gradient tells the others
        first = functional.cross_entropy(logits[:, 0].float(), batch["first"], reduction="sum")
        return {"every": every, "first": first}


def logits_of(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """(B, T, V), of the decoder in a way that reaches inside it."""
    if model.config.model_type == "t5":
        return model(input_ids=tokens, decoder_input_ids=tokens, use_cache=False).logits  # type: ignore[no-any-return]
    if model.config.model_type == "bert":
        return model(input_ids=tokens).prediction_logits  # type: ignore[no-any-return]
    hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
    return hidden @ model.get_output_embeddings().weight.T  # type: ignore[no-any-return]


def make_model(family: str, dropout: float) -> PreTrainedModel:
    torch.manual_seed(3)
    if family == "gpt2":
        rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
        sizes = {"n_positions": LENGTH, "n_embd": 16, "n_layer": 2, "n_head": 2}
        ends = {"bos_token_id": 0, "eos_token_id": 0}
        return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **sizes, **rates, **ends))
    if family == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
        return T5ForConditionalGeneration(
            T5Config(vocab_size=VOCABULARY, dropout_rate=dropout, **sizes)
        )
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "max_position_embeddings": LENGTH}
    if family == "bert":  # with a head for the next sentence that no loss here reaches
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
        return BertForPreTraining(BertConfig(vocab_size=VOCABULARY, **sizes, **rates))
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, tie_word_embeddings=True, **sizes)
    )


def make_trainer(
    processes: Processes,
    family: str = "llama",
    *,
    dropout: float = 0.0,
    freeze: tuple[str, ...] = (),
    spoilt_step: int | None = None,
    **changes: Any,
) -> Trainer:
    """Clipping is at work; every process has several micro-batches."""
    model = make_model(family, dropout)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(freeze or "-")
    settings: dict[str, Any] = {
        "learning_rate": 3e-3,
        "batch_size": ROWS,
        "micro_batch_size": 2,
        "sequence_length": LENGTH,
        "warmup_steps": 2,
        "clip_norm": 0.3,
        "precision": "fp32",
        **changes,
    }
    return Trainer(
        model,
        Rows(),
        TwoLosses(spoilt_step),  # type: ignore[arg-type]
        TrainingSection(**settings),
        total_steps=STEPS,
        seed=5,
        processes=processes,
    )


TRAININGS: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {"family": "gpt2"},
    "bert": {"family": "bert"},
    "t5": {"family": "t5"},
    "frozen": {"freeze": ("model.embed_tokens", "model.layers.0"), "gradient_checkpointing": True},
    "bf16": {"precision": "bf16"},
    "muon": {"optimizer": "muon"},
    "skip": {"not_finite": "skip", "spoilt_step": 2},
}
"""By name: trainings whose outcome must not depend on the number of processes."""


def result(trainer: Trainer, report: StepsReport) -> Found:
    """What a training ended with."""
    return {
        "weights": trainer.weights(),
        "losses": np.array([report.loss, *report.losses.values(), report.norm]),
        "numbers": np.array([report.tokens, report.steps, report.skipped]),
        **{f"state/{name}": array for name, array in trainer.state().items()},
    }


def train(processes: Processes, **options: Any) -> Found:
    trainer = make_trainer(processes, **options)
    return result(trainer, trainer.run(STEPS))


def begin(processes: Processes, **options: Any) -> Found:
    """Train up to STOP."""
    trainer = make_trainer(processes, **options)
    return result(trainer, trainer.run(STOP))


def go_on(processes: Processes, begun: Found, **options: Any) -> Found:
    """Go on from what `begin` found to the end."""
    trainer = make_trainer(processes, **options)
    trainer.set_weights(begun["weights"])
    trainer.load_state(
        {n.removeprefix("state/"): a for n, a in begun.items() if n.startswith("state/")}
    )
    return result(trainer, trainer.run(STEPS - STOP))


def train_and_look(processes: Processes) -> Found:
    """As `train`, with a look at the model before, between and after: (B, T, V) each."""
    trainer = make_trainer(processes)
    tokens = torch.from_numpy(Rows().batch(99, 2)["input_ids"])

    @torch.no_grad()
    def look() -> npt.NDArray[Any]:
        return trainer.model(input_ids=tokens).logits.numpy()  # type: ignore[no-any-return]

    looks = [trainer.inside(look)]
    for _ in range(2):
        report = trainer.run(STEPS // 2)
        looks.append(trainer.inside(look))
    return {"looks": np.array(looks), **result(trainer, report)}


def told(work: Callable[[], object]) -> npt.NDArray[Any]:
    """Type, step and message of the error that `work` ends with."""
    try:
        work()
    except LLMOSError as error:
        step = error.step if isinstance(error, NotFiniteError) else None
        return np.array([type(error).__name__, str(step), str(error)])
    raise AssertionError("no error")


def all_cases(processes: Processes, begun_alone: Found) -> Found:
    """Everything that one process of several finds, by `case/name`."""
    found = {name: train(processes, **options) for name, options in TRAININGS.items()}
    found["looks"] = train_and_look(processes)
    found["begun"] = begin(processes)
    found["continued"] = go_on(processes, found["begun"])
    found["continued from one"] = go_on(processes, begun_alone)
    drop = {"family": "gpt2", "dropout": 0.3}
    found["dropout"] = train(processes, **drop)
    found["dropout, continued"] = go_on(processes, begin(processes, **drop), **drop)
    drawing = make_trainer(processes)
    drawing.run(1)
    assert isinstance(drawing.objective, TwoLosses)
    box = {"rank": processes.rank, "array": np.full(2, processes.rank)}
    received = processes.broadcast(box)
    processes.barrier()
    found["hooks"] = {
        "drawn": np.array(drawing.objective.drawn),
        "place": np.array([processes.rank, processes.count, processes.is_first]),
        "received": np.array([received["rank"], *received["array"]]),
        "sum": processes.sum(torch.tensor([1.0, processes.rank])).numpy(),
    }
    found["errors"] = {
        "stop": told(lambda: make_trainer(processes, spoilt_step=2).run(STEPS)),
        "batch": told(lambda: make_trainer(processes, batch_size=7)),
    }
    return {f"{case}/{n}": a for case, values in found.items() for n, a in values.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    for kind in ("ddp", "fsdp"):
        with processes_from_environment(kind, timeout=60) as processes:
            use_deterministic(threads=1)
            with np.load(folder / "begun.npz") as begun:
                found = all_cases(processes, dict(begun))
            np.savez(folder / f"{kind}-{processes.rank}.npz", **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
