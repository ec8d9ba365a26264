"""How surprised a causal language model is by texts: negative log-likelihood, in nats, with bytes.

Shapes: B windows, T tokens a window, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

BLOCK_BYTES = 2000


@dataclass(frozen=True)
class Scores:
    """Sums per unit (a document, or a block of one), so that any mean or interval can be formed.

    nll: (units,) nats; tokens: (units,); bytes: (units,) UTF-8 bytes of the text scored.
    """

    nll: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]

    @property
    def bits_per_byte(self) -> float:
        return float(self.nll.sum() / np.log(2) / self.bytes.sum())

    @property
    def perplexity(self) -> float:
        """exp of the mean loss per token; comparable only under one tokenizer."""
        return float(np.exp(self.nll.sum() / self.tokens.sum()))

    def sums(self) -> dict[str, Any]:
        """The totals, as they may leave a member."""
        return {
            "nll_nats": float(self.nll.sum()),
            "tokens": int(self.tokens.sum()),
            "bytes": int(self.bytes.sum()),
            "units": len(self.nll),
        }


@torch.no_grad()
def token_losses(
    model: nn.Module,
    documents: Sequence[npt.NDArray[np.int64]],
    *,
    begin: int,
    length: int,
    stride: int = 0,
    batch_tokens: int = 4096,
) -> list[npt.NDArray[np.float64]]:
    """The loss of every token of every document, in nats, the first one given `begin`.

    Documents longer than `length` are scored in windows that advance by `stride` tokens (0:
    `length`, no overlap); a token is scored in the first window that holds it, so a smaller stride
    gives it more context at more cost. Evaluated in float32, in eval mode.
    """
    stride = min(stride or length, length)
    losses = [np.zeros(len(tokens)) for tokens in documents]
    windows: list[tuple[int, int, int]] = []  # document, start, first new target
    for index, tokens in enumerate(documents):
        start, done = 0, 0
        while done < len(tokens):
            end = min(start + length, len(tokens))
            windows.append((index, start, done))
            done, start = end, start + stride
    windows.sort(key=lambda w: (-min(length, len(documents[w[0]]) - w[1]), w[0], w[1]))
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    per_batch = max(1, batch_tokens // length)
    try:
        for at in range(0, len(windows), per_batch):
            group = windows[at : at + per_batch]
            width = min(length, len(documents[group[0][0]]) - group[0][1])
            inputs = np.full((len(group), width), begin, np.int64)
            targets = np.full((len(group), width), -100, np.int64)
            for row, (index, start, _) in enumerate(group):
                tokens = documents[index][start : start + length]
                inputs[row, 1 : len(tokens)] = tokens[:-1]
                inputs[row, 0] = documents[index][start - 1] if start else begin
                targets[row, : len(tokens)] = tokens
            logits = model(input_ids=torch.from_numpy(inputs).to(device), use_cache=False).logits
            nll = (
                functional.cross_entropy(
                    logits.float().transpose(1, 2),  # (B, V, T)
                    torch.from_numpy(targets).to(device),
                    reduction="none",
                )
                .cpu()
                .numpy()
            )  # (B, T)
            for row, (index, start, first) in enumerate(group):
                end = min(start + length, len(documents[index]))
                losses[index][first:end] = nll[row, first - start : end - start]
    finally:
        model.train(was_training)
    return losses


def score_texts(
    model: nn.Module,
    texts: Sequence[str],
    encode: Callable[[str], tuple[Sequence[int], npt.NDArray[np.int64]]],
    *,
    begin: int,
    length: int,
    stride: int = 0,
    block_bytes: int = 0,
) -> Scores:
    """Score texts; a unit is a text, or a block of about `block_bytes` bytes of one when > 0.

    An empty text has no token and so no unit. `encode` gives a text's tokens and how many UTF-8
    bytes each of them stands for.
    """
    encoded = [encode(text) for text in texts]
    documents = [np.asarray(tokens, np.int64) for tokens, _ in encoded]
    losses = token_losses(model, documents, begin=begin, length=length, stride=stride)
    nll: list[float] = []
    tokens: list[int] = []
    sizes: list[int] = []
    for (_, lengths), loss in zip(encoded, losses, strict=True):
        ends = np.cumsum(lengths)
        last = np.maximum(ends - 1, 0)  # a special token at the start stands for no byte
        block = last // block_bytes if block_bytes else np.zeros_like(last)
        for b in np.unique(block):
            chosen = block == b
            nll.append(float(loss[chosen].sum()))
            tokens.append(int(chosen.sum()))
            sizes.append(int(lengths[chosen].sum()))
    return Scores(np.array(nll), np.array(tokens, np.int64), np.array(sizes, np.int64))
