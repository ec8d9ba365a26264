"""What a training step takes in memory where the vocabulary is large, with and without logits.

`python benchmarks/training.py --memory` runs it: each measurement is a process of its own, which
trains one step (forward, backward, AdamW) of a small GPT-2 and says by how much its peak of
resident memory was above what it had before. Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

VOCABULARY, LENGTH, WIDTH, LAYERS = 128 * 1024, 1024, 256, 2


def measure_memory(quick: bool) -> tuple[list[str], dict[str, Any]]:
    """Lines of the table, and its figures in MiB."""
    lines = [
        f"Vocabulary {VOCABULARY}, {LENGTH} tokens, width {WIDTH}, {LAYERS} layers, bf16:",
        "",
        "| sequences | plain logits, MiB | llmos, MiB | ratio (bar 0.5) |",
        "|---|---|---|---|",
    ]
    figures: dict[str, Any] = {}
    for batch in (1,) if quick else (1, 2, 4):
        plain, ours = (_peak(kind, batch) for kind in ("plain", "llmos"))
        figures[str(batch)] = {"plain": plain, "llmos": ours}
        lines.append(f"| {batch} | {plain:.0f} | {ours:.0f} | {ours / plain:.2f} |")
    return lines, figures


def _peak(kind: str, batch: int) -> float:
    command = [sys.executable, str(Path(__file__).resolve()), kind, str(batch)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _status(field: str) -> float:
    """A field of this process's status, in MiB."""
    text = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(field))) / 1024


def _step(kind: str, batch: int) -> float:
    """The peak of one step above what there was before it, in MiB."""
    import torch
    from torch.nn import functional
    from transformers import GPT2Config, GPT2LMHeadModel

    from llmos.models.speedups import speed_up
    from llmos.training.objectives.token_loss import (
        hidden_states,
        output_projection,
        token_loss_sum,
    )

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=LENGTH,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    if kind == "llmos":
        speed_up(model)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    rows = torch.randint(VOCABULARY, (batch, LENGTH + 1))
    labels = rows[:, 1:].flatten()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if kind == "llmos":
            head = output_projection(model)
            assert head is not None
            states = hidden_states(model, input_ids=rows[:, :-1], use_cache=False)
            loss = token_loss_sum(states.flatten(0, 1), head.weight, labels) / len(labels)
        else:
            logits = model(input_ids=rows[:, :-1], use_cache=False).logits
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), labels)
            del logits
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return _status("VmHWM") - before


if __name__ == "__main__":
    print(json.dumps(_step(sys.argv[1], int(sys.argv[2]))))
