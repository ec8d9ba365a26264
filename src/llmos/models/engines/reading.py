"""What a model folder's model says of texts: likelihoods, labels, vectors.

Shapes: B rows, T tokens, V vocabulary, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from llmos.models.engines import shared_context
from llmos.models.engines.batches import padded
from llmos.models.engines.engine import Likelihood, TokenLogprob, UnsupportedError
from llmos.models.engines.loading import Loaded
from llmos.models.engines.shared_context import of_logits
from llmos.models.framing import source_tokens


@torch.no_grad()
def likelihoods(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """How likely each continuation is after its context, or a target given its source."""
    if loaded.kind == "encoder":
        raise UnsupportedError(f"{loaded.folder} is an encoder, which gives no likelihood")
    if loaded.kind == "encoder-decoder":
        return _of_targets(loaded, pairs)
    return shared_context.likelihoods(loaded, pairs)


def _of_targets(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """Of an encoder-decoder: the target's tokens, given the source; without its end."""
    start = getattr(loaded.model.config, "decoder_start_token_id", None)
    first = loaded.words.pad if start is None else start
    found = []
    for source, target in pairs:
        ids = loaded.words.encode(target)
        if not ids:
            found.append(Likelihood(0.0, 0, True))
            continue
        read = torch.tensor([source_tokens(loaded.words, source)], device=loaded.model.device)
        begun = torch.tensor([[first, *ids[:-1]]], device=loaded.model.device)
        logits = loaded.model(input_ids=read, decoder_input_ids=begun).logits[0]
        found.append(of_logits(logits, ids))
    return found


def framed(loaded: Loaded, text: str) -> list[int]:
    """A text's ids with the special tokens of its tokenizer; too long a text loses its end."""
    encoding = loaded.words.tokenizer.encode(text)
    ids, special = list(encoding.ids), list(encoding.special_tokens_mask)
    after = special[::-1].index(0) if 0 in special else 0
    excess = max(0, len(ids) - loaded.context_length)
    end = len(ids) - after
    return (ids[: end - excess] + ids[end:]) or [loaded.words.end]


@torch.no_grad()
def prompt_logprobs(loaded: Loaded, ids: Sequence[int], top: int) -> list[TokenLogprob | None]:
    """How likely a decoder held each token of a prompt after those before it; None: the first.

    `top`: how many of the likeliest tokens to tell at each place.
    """
    if loaded.kind != "decoder":
        raise UnsupportedError(f"{loaded.folder} is no decoder, which alone predicts its prompt")
    tensor = torch.tensor([list(ids)], device=loaded.model.device)
    values = loaded.model(input_ids=tensor, use_cache=False).logits[0].float().log_softmax(-1)
    tokenizer = loaded.words.tokenizer
    rows = zip(values[:-1], ids[1:], strict=True)
    return [None, *(token_logprob(tokenizer, row, token, top) for row, token in rows)]


def token_logprob(tokenizer: Tokenizer, likely: torch.Tensor, token: int, top: int) -> TokenLogprob:
    """What is told of a token. `likely`: (V,), log-probabilities."""
    best = likely.topk(min(top, len(likely)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    told = tuple((tokenizer.decode([i], skip_special_tokens=False), value) for i, value in pairs)
    own = tokenizer.decode([token], skip_special_tokens=False)
    return TokenLogprob(own, float(likely[token]), told)


@torch.no_grad()
def classify(loaded: Loaded, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Probabilities: (texts, C). Raises `UnsupportedError` without such a head."""
    if loaded.head != "classification":
        raise UnsupportedError(f"{loaded.folder} has no head that tells labels apart")
    found = np.zeros((len(texts), int(loaded.model.config.num_labels or 0)))
    rows = [framed(loaded, text) for text in texts]
    for batch in padded(rows, loaded.words.pad, loaded.model.device):
        logits = loaded.model(input_ids=batch.ids, attention_mask=batch.mask).logits
        found[batch.rows] = functional.softmax(logits.double(), dim=-1).cpu().numpy()
    return found


@torch.no_grad()
def embed(loaded: Loaded, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The mean of the last layer's vectors, of length 1, as sentence-transformers pools them."""
    config = loaded.model.config
    width = int(config.get_text_config().hidden_size or 0)
    found = np.zeros((len(texts), width), np.float32)
    rows = [framed(loaded, text) for text in texts]
    has_encoder = config.is_encoder_decoder
    network = loaded.model.get_encoder() if has_encoder else loaded.model.base_model
    for batch in padded(rows, loaded.words.pad, loaded.model.device):
        hidden = network(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        mask = batch.mask[..., None]
        mean = (hidden.float() * mask).sum(1) / mask.sum(1)
        found[batch.rows] = functional.normalize(mean, dim=-1).cpu().numpy()
    return found
