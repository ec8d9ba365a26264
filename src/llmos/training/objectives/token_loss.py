"""The loss over a vocabulary without the logits of a whole batch in memory.

Logits are made for some rows at a time and turned into gradients at once, as in Liger Kernel (Hsu
et al. 2024, arXiv 2410.10989): at no time are (N, V) of them kept, and none is kept in float32 but
for a few rows. Shapes: B sequences, T tokens, N tokens with a label or without, D width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import IGNORE

CHUNK = 1 << 25
"""Logits at a time: 64 MiB in bf16. Fewer make the products of matrices small, and so slow."""

BLOCK = 1 << 19
"""Of these, how many a processor has in float32 at a time: 2 MiB, a core's second cache."""

F = TypeVar("F", bound=Callable[..., Any])


def _not_compiled(recursive: bool = True) -> Callable[[F], F]:
    """Leave a function out when torch.compile takes a model with its loss."""
    return cast("Callable[[F], F]", torch.compiler.disable(recursive=recursive))


@_not_compiled()
def token_loss_sum(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum of negative log-likelihoods in nats over the labels that are not -100: a float32 scalar.

    hidden: (N, D), states before the output projection; weight: (V, D); labels: (N,); bias: (V,).
    Under autocast the products are computed in its type, else in that of `hidden`. Gradients reach
    `hidden`, `weight` and `bias`; they are made with the loss, so it takes one `backward` only.
    """
    rows = (labels != IGNORE).nonzero().squeeze(1)
    if len(rows) < len(labels):
        hidden, labels = hidden.index_select(0, rows), labels.index_select(0, rows)
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    loss: torch.Tensor = _TokenLoss.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, labels, dtype, torch.is_grad_enabled()
    )
    return loss


class _TokenLoss(torch.autograd.Function):
    """Loss and, on the way, its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        dtype: torch.dtype,
        with_gradients: bool,
    ) -> torch.Tensor:
        to_hidden, to_weight, to_bias = (
            with_gradients and needed for needed in ctx.needs_input_grad[:3]
        )
        exact = torch.promote_types(dtype, torch.float32)
        inputs, matrix = hidden.to(dtype), weight.to(dtype)
        d_hidden = torch.empty_like(inputs) if to_hidden else None
        d_weight = torch.zeros_like(weight, dtype=exact) if to_weight else None
        d_bias = weight.new_zeros(len(weight), dtype=exact) if to_bias else None
        vocabulary = len(weight)
        rows = max(1, CHUNK // vocabulary)
        # On a GPU one kernel over all rows is faster than many over rows that fit a cache.
        rows_exact = max(1, BLOCK // vocabulary) if hidden.device.type == "cpu" else rows
        loss = hidden.new_zeros((), dtype=exact)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(inputs), rows):
                x = inputs[start : start + rows]
                logits = x @ matrix.T
                for block, label in zip(
                    logits.split(rows_exact),
                    labels[start : start + rows].split(rows_exact),
                    strict=True,
                ):
                    at_label = torch.arange(len(label), device=label.device), label
                    scores = block.to(exact) if bias is None else block.to(exact) + bias
                    scores = torch.log_softmax(scores, dim=-1)
                    loss -= scores[at_label].sum()
                    if to_hidden or to_weight or to_bias:
                        scores.exp_()  # in the logits' place: softmax minus one at the label
                        scores[at_label] -= 1.0
                        block.copy_(scores)
                        if d_bias is not None:
                            d_bias += scores.sum(dim=0)
                if d_hidden is not None:
                    torch.mm(logits, matrix, out=d_hidden[start : start + rows])
                if d_weight is not None:
                    if dtype == exact:
                        d_weight.addmm_(logits.T, x)
                    else:
                        d_weight += logits.T @ x
        ctx.gradients = d_hidden, d_weight, d_bias
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of token_loss_sum serve for one backward only")
        found = tuple(
            None if gradient is None else gradient.mul_(grad).to(dtype)
            for gradient, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        ctx.gradients = None  # scaled in place, and free for the optimizer's use
        return (*found, None, None, None)


@_not_compiled()
def output_projection(model: nn.Module) -> nn.Linear | None:
    """The layer that makes the logits of `model`, of transformers or like one, of `hidden_states`.

    None if they are no plain product with its weight (V, D), plus its bias: where they are capped
    (Gemma 2), or an adapter changes them. Found by putting known numbers in the layer's place and
    looking at what becomes of them, so that no list of names is needed; later calls remember.
    """
    head = _head(model)
    if type(head) is not nn.Linear:
        return None
    if model not in _PLAIN:
        _PLAIN[model] = _are_logits_plain(model, head)
    return head if _PLAIN[model] else None


_PLAIN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def _are_logits_plain(model: Any, head: nn.Linear) -> bool:
    ids = torch.zeros((1, 2), dtype=torch.long, device=head.weight.device)
    known = torch.linspace(-90.0, 90.0, 2 * head.out_features, device=ids.device).view(1, 2, -1)
    inputs = {"input_ids": ids}
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), _replaced(head, lambda states: known):
            logits = _logits(model(**inputs)).float()
        with torch.no_grad(), headless(model):
            _logits(model(**inputs))
    except RuntimeError:  # what comes after the layer does not take its input (BART's own bias)
        return False
    finally:
        model.train(was_training)
    # A factor (Cohere) is met by `hidden_states` on its way too, but a bias would not be.
    factor = 1.0 if head.bias is not None else float(logits.flatten()[-1] / known.flatten()[-1])
    return logits.shape == known.shape and torch.allclose(logits, factor * known)


@_not_compiled(recursive=False)  # but the model within is
def hidden_states(model: nn.Module, **inputs: Any) -> torch.Tensor:
    """What goes into the output projection of `model`: (B, T, D).

    That is T5's scaled states, or BERT's after the transform before its decoder.
    """
    with headless(model):
        return _logits(model(**inputs))


@contextmanager
def headless(model: nn.Module) -> Iterator[None]:
    """Within, the output projection of `model` passes its input on.

    The logits of an output are then the states before it, (B, T, D); the rest stays as it is.
    """
    with _replaced(_head(model), lambda states: states):
        yield


@contextmanager
def _replaced(module: nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Within, `module` computes `forward`."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward  # so that of its class is seen again
        else:
            module.forward = before


def _head(model: Any) -> Any:
    return model.get_output_embeddings()


def _logits(output: Any) -> torch.Tensor:
    """The logits over the vocabulary; BERT with its two objectives gives them another name."""
    logits: torch.Tensor | None = getattr(output, "logits", None)
    return output.prediction_logits if logits is None else logits


def label_loss_sum(model: nn.Module, labels: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Sum of negative log-likelihoods in nats of `model(**inputs)` at the labels, where not -100.

    labels: (B, T), at the places where they are predicted.
    """
    head = output_projection(model)
    if head is None:
        logits = _logits(model(**inputs)).float().flatten(0, 1)
        return functional.cross_entropy(logits, labels.flatten(), reduction="sum")
    states = hidden_states(model, **inputs).flatten(0, 1)
    return token_loss_sum(states, head.weight, labels.flatten(), head.bias)
