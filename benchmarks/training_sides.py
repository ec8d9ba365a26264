"""One side of benchmarks/training.py, as a process of its own that trains when it is told to.

    python benchmarks/training_sides.py SIDE FOLDER

reads numbers of steps from standard input, a line each, and answers each with a line of JSON:
{"tokens": real tokens trained on, "seconds": ..., "busy": seconds of processor time}. FOLDER holds
what the benchmark prepared: tokens, and the shape of the model. All sides use the same tokens,
shape, batch and thread count; a step is forward, backward, clipping and AdamW.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.device import share_cores

share_cores()  # before torch is loaded

import numpy as np  # noqa: E402
import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from training_plain import GPT  # noqa: E402
from training_plain import train as train_plain  # noqa: E402
from transformers import (  # noqa: E402
    DataCollatorForLanguageModeling,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

import llmos.training.loop as loop  # noqa: E402
from llmos.data.packing import PackedSequences  # noqa: E402
from llmos.models.families import build_model  # noqa: E402
from llmos.models.speedups import keep_memory  # noqa: E402
from llmos.models.throughput import flops_per_token, matmul_rate  # noqa: E402
from llmos.models.vocabulary import Vocabulary  # noqa: E402
from llmos.recipe import Recipe  # noqa: E402
from llmos.training.objectives import make_objective  # noqa: E402

ENDLESS = 1_000_000


@dataclass
class Work:
    """What all sides are given. rows: the tokens of documents, cut at `length`."""

    folder: Path
    shape: dict[str, int]
    tokens: np.ndarray
    rows: list[np.ndarray]

    @classmethod
    def read(cls, folder: Path) -> Work:
        stored = np.load(folder / "tokens.npz")
        rows = np.split(stored["rows"], np.cumsum(stored["sizes"])[:-1])
        shape = json.loads((folder / "shape.json").read_text())
        return cls(folder, shape, stored["packed"], rows)

    def words(self) -> Vocabulary:
        return Vocabulary.of(Tokenizer.from_file(str(self.folder / "tokenizer.json")))

    def gpt2(self) -> GPT2LMHeadModel:
        """As a user of transformers makes one; without dropout, as all sides."""
        shape, end = self.shape, self.words().end
        torch.manual_seed(0)
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=shape["vocabulary"],
                n_positions=shape["length"],
                n_embd=shape["width"],
                n_layer=shape["layers"],
                n_head=shape["heads"],
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=end,
                eos_token_id=end,
            )
        )


class Stretches:
    """Steps between a number that was read and the answer to it."""

    def __init__(self) -> None:
        self.left = 1  # the first step is not measured: it fills caches
        self.tokens = 0
        self.started: tuple[float, float] | None = None

    def after_step(self, tokens: int) -> None:
        """Count a step; after the last of a stretch answer, and wait for the next or the end."""
        self.tokens += tokens
        self.left -= 1
        while self.left == 0:
            if self.started is None:
                answer({"ready": True})
            else:
                answer({"tokens": self.tokens, **since(self.started)})
            line = sys.stdin.readline()
            if not line:
                raise SystemExit
            self.left, self.tokens, self.started = int(line), 0, now()


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float]) -> dict[str, float]:
    seconds, busy = (a - b for a, b in zip(now(), started, strict=True))
    return {"seconds": seconds, "busy": busy}


def answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


def llmos_side(work: Work, family: str) -> None:
    """Our own trainer, as a recipe makes it."""
    shape = work.shape
    recipe = Recipe(name="speed").with_values(
        {
            "model.family": family,
            "model.num_layers": shape["layers"],
            "model.num_heads": shape["heads"],
            "model.hidden_size": shape["width"],
            "model.context_length": shape["length"],
            "tokenizer.vocabulary_size": shape["vocabulary"],
            "training.batch_size": shape["batch"],
            "training.sequence_length": shape["length"],
            "training.learning_rate": 1e-3,
            "training.threads": shape["threads"],
        }
    )
    words = work.words()
    loop.use_deterministic(shape["threads"])
    model = build_model(recipe.model, words, seed=0)
    data = PackedSequences(work.tokens, shape["length"], seed=0)
    trainer = loop.Trainer(
        model,
        data,
        make_objective(recipe, words),
        recipe.training,
        total_steps=ENDLESS,
        seed=0,
    )
    trainer.run(1)
    flops = flops_per_token(model, shape["length"])
    answer({"ready": True, "flops_per_token": flops, "parameters": model.num_parameters()})
    for line in sys.stdin:
        started = now()
        report = trainer.run(int(line))
        answer({"tokens": report.tokens, **since(started)})


def plain_side(work: Work, kept: bool) -> None:
    """The plain loop; `kept`: with the one setting of the allocator that llmos makes."""
    if kept:
        keep_memory()
    shape = work.shape
    torch.manual_seed(0)
    sizes = (shape[name] for name in ("vocabulary", "length", "layers", "heads", "width"))
    tokens = torch.from_numpy(work.tokens.astype(np.int64))
    train_plain(GPT(*sizes), tokens, shape["batch"], shape["length"], 1e-3, Stretches().after_step)


def trainer_side(work: Work, packed: bool) -> None:
    """transformers' Trainer: as it is (float32, padded rows), or with bf16 and packed rows."""
    shape = work.shape
    stretches = Stretches()
    pending: deque[int] = deque()  # real tokens of batches made and not yet trained on
    if packed:
        count = len(work.tokens) // shape["length"]
        full = work.tokens[: count * shape["length"]].astype(np.int64).reshape(count, -1)
        data = [{"input_ids": row, "labels": row} for row in full]
        inner: Callable[..., Any] = default_data_collator
    else:
        data = [{"input_ids": row.astype(np.int64)} for row in work.rows]
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(work.folder / "tokenizer.json"), pad_token="<|pad|>"
        )
        inner = DataCollatorForLanguageModeling(tokenizer, mlm=False)

    def collate(rows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
        pending.append(sum(len(row["input_ids"]) for row in rows))
        return inner(rows)

    class Counter(TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            stretches.after_step(pending.popleft())

    arguments = TrainingArguments(
        output_dir=str(work.folder / "trainer"),
        per_device_train_batch_size=shape["batch"],
        max_steps=ENDLESS,
        learning_rate=1e-3,
        bf16=packed,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    Trainer(
        work.gpt2(), arguments, train_dataset=data, data_collator=collate, callbacks=[Counter()]
    ).train()


def matmul_side(work: Work) -> None:
    """The rate of large products of matrices: {"bf16": FLOP/s, "fp32": FLOP/s, ...}."""
    answer({"ready": True})
    for _ in sys.stdin:
        matmul_rate.cache_clear()
        started = now()
        rates = {"bf16": matmul_rate(torch.bfloat16), "fp32": matmul_rate(torch.float32)}
        answer({**rates, **since(started)})


SIDES: dict[str, Callable[[Work], None]] = {
    "llmos": lambda work: llmos_side(work, "gpt2"),
    "llmos_llama": lambda work: llmos_side(work, "llama"),
    "plain": lambda work: plain_side(work, kept=False),
    "plain_kept": lambda work: plain_side(work, kept=True),
    "trainer": lambda work: trainer_side(work, packed=False),
    "trainer_packed": lambda work: trainer_side(work, packed=True),
    "matmul": matmul_side,
}


if __name__ == "__main__":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    given = Work.read(Path(sys.argv[2]))
    torch.set_num_threads(given.shape["threads"])
    SIDES[sys.argv[1]](given)
