"""Likelihoods after a decoder's contexts, each context read once however many continuations it has.

A row holds a context and, behind it, all its continuations; a mask keeps these from seeing each
other, and each counts its positions on from the context (as the token trees of SpecInfer, arXiv
2305.09781, section 4.2). Logits are computed for the continuations only.

Shapes: B rows, C tokens of the longest context, T tokens of a row, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

import torch

from llmos.models.engines.engine import Likelihood
from llmos.models.engines.loading import Loaded
from llmos.models.framing import document_tokens

BATCH_TOKENS = 4096
TAIL_TOKENS = 512
"""Of continuations in one row: their mask grows with the square of it."""


@dataclass(frozen=True)
class _Branch:
    """A continuation: which pair it is, its ids behind the stem, and how many of them count."""

    pair: int
    ids: list[int]
    scored: int


@dataclass(frozen=True)
class _Tree:
    stem: list[int]
    branches: list[_Branch]

    @property
    def tail(self) -> int:
        """Places of all branches; the last token of each is only predicted."""
        return sum(len(branch.ids) - 1 for branch in self.branches)


def likelihoods(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """How likely each continuation is after its context; a context too long loses its beginning.

    The two are cut into tokens together and parted afterwards, as lm-evaluation-harness does
    (`TemplateLM._encode_pair`), so that a blank between them is with the continuation. Pairs of one
    context that follow each other share its computation.
    """
    found = [Likelihood(0.0, 0, True)] * len(pairs)
    may_share = _can_share(loaded.model)
    trees = list(_trees(loaded, pairs, may_share=may_share))
    with torch.no_grad():
        for batch in _batches(trees):
            for pair, likelihood in _score(loaded, batch, may_share=may_share):
                found[pair] = likelihood
    return found


def _can_share(model: Any) -> bool:
    """Whether the model takes a mask and positions of ours and looks at all that it may see."""
    known = inspect.signature(model.forward).parameters
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        "position_ids" in known
        and kinds == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and not getattr(model, "_is_stateful", False)
    )


def _trees(loaded: Loaded, pairs: Sequence[tuple[str, str]], *, may_share: bool) -> Iterator[_Tree]:
    numbered = enumerate(pairs)
    for _, group in groupby(numbered, lambda one: (0 if may_share else one[0], one[1][0])):
        rows: list[tuple[int, list[int], int]] = []  # pair, ids, how many count
        size = 0
        for pair, (context, continuation) in group:
            blank = len(context) - len(context.rstrip())
            if blank:
                context, continuation = context[:-blank], context[-blank:] + continuation
            before = len(document_tokens(loaded.words, context))
            whole = document_tokens(loaded.words, context + continuation)
            scored = min(len(whole) - before, loaded.context_length)
            if scored <= 0:
                continue  # nothing to predict: 0 nats
            if len(whole) > loaded.context_length + 1:  # cut by its own length: a tree of its own
                whole = whole[-(loaded.context_length + 1) :]
                yield _tree([(pair, whole, scored)])
                continue
            if rows and size + scored > TAIL_TOKENS:
                yield _tree(rows)
                rows, size = [], 0
            rows.append((pair, whole, scored))
            size += scored
        if rows:
            yield _tree(rows)


def _tree(rows: Sequence[tuple[int, list[int], int]]) -> _Tree:
    """The stem is what all rows begin with, as far as none of it counts."""
    most = min(len(ids) - scored for _, ids, scored in rows)
    columns = zip(*(ids[:most] for _, ids, _ in rows), strict=True)
    length = len(list(takewhile(lambda column: len(set(column)) == 1, columns)))
    return _Tree(
        rows[0][1][:length],
        [_Branch(pair, ids[length:], scored) for pair, ids, scored in rows],
    )


def _batches(trees: Sequence[_Tree]) -> Iterator[list[_Tree]]:
    """Trees of like stems, the longest first: if memory is short, that shows at once."""
    batch: list[_Tree] = []
    tail = 0
    for tree in sorted(trees, key=lambda one: (-len(one.stem), -one.tail)):
        tail = max(tail, tree.tail)
        width = len((batch or [tree])[0].stem) + tail
        if batch and (len(batch) + 1) * width > BATCH_TOKENS:
            yield batch
            batch, tail = [], tree.tail
        batch.append(tree)
    if batch:
        yield batch


def _score(
    loaded: Loaded, batch: Sequence[_Tree], *, may_share: bool
) -> Iterator[tuple[int, Likelihood]]:
    """Stems are padded at the left, so that all continuations stand in the same columns."""
    model: Any = loaded.model
    stem = max(len(tree.stem) for tree in batch)  # C
    width = stem + max(tree.tail for tree in batch)  # T
    ids = torch.full((len(batch), width), loaded.words.pad)
    places = torch.zeros_like(ids)
    sees = torch.eye(width, dtype=torch.bool).repeat(len(batch), 1, 1)  # (B, T, T)
    for row, tree in enumerate(batch):
        start = stem - len(tree.stem)
        ids[row, start:stem] = torch.tensor(tree.stem)
        places[row, start:stem] = torch.arange(len(tree.stem))
        sees[row, start:stem, start:stem] = _causal(len(tree.stem))
        at = stem
        for branch in tree.branches:
            n = len(branch.ids) - 1
            ids[row, at : at + n] = torch.tensor(branch.ids[:-1], dtype=torch.long)
            places[row, at : at + n] = torch.arange(len(tree.stem), len(tree.stem) + n)
            sees[row, at : at + n, start:stem] = True
            sees[row, at : at + n, at : at + n] = _causal(n)
            at += n
    if may_share:
        mask = torch.zeros(sees.shape, dtype=model.dtype)
        mask = mask.masked_fill_(~sees, torch.finfo(model.dtype).min)[:, None]  # (B, 1, T, T)
    else:  # one branch a tree: the usual mask, which says where the padding is
        sizes = torch.tensor([[len(tree.stem), tree.tail] for tree in batch])
        place = torch.arange(width)
        mask = (place >= stem - sizes[:, :1]) & (place < stem + sizes[:, 1:])
        mask = mask.long()
    values = _logits(model, ids, places, mask, width - stem + 1)  # (B, T - C + 1, V)
    for row, tree in enumerate(batch):
        at = 1  # 0: the last token of the stem, which predicts the first of every branch
        for branch in tree.branches:
            n = len(branch.ids) - 1
            columns = [0, *range(at, at + n)][len(branch.ids) - branch.scored :]
            yield branch.pair, of_logits(values[row, columns], branch.ids[-branch.scored :])
            at += n


def _causal(size: int) -> torch.Tensor:
    return torch.ones(size, size, dtype=torch.bool).tril()


def _logits(
    model: Any, ids: torch.Tensor, places: torch.Tensor, mask: torch.Tensor, last: int
) -> torch.Tensor:
    """Those of the last columns."""
    known = inspect.signature(model.forward).parameters
    options = {
        "attention_mask": mask.to(model.device),
        "position_ids": places.to(model.device),
        "logits_to_keep": last,
        "use_cache": False,
    }
    taken = {name: value for name, value in options.items() if name in known}
    return model(input_ids=ids.to(model.device), **taken).logits[:, -last:]  # type: ignore[no-any-return]


def of_logits(logits: torch.Tensor, ids: Sequence[int]) -> Likelihood:
    """The likelihood of ids that `logits`, (T, V), tell."""
    wanted = torch.tensor(list(ids), dtype=torch.long, device=logits.device)
    values = logits.float()
    own = values.gather(1, wanted[:, None])[:, 0] - values.logsumexp(-1)
    is_greedy = bool((values.argmax(-1) == wanted).all())
    return Likelihood(float(own.double().sum()), len(wanted), is_greedy)
