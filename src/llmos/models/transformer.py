"""The Transformer of "Attention Is All You Need", in plain PyTorch, to be read and trained.

An encoder-decoder after Vaswani et al. 2017 (arXiv 1706.03762). One thing differs: each layer is
normalised at its input, not at its output (pre-norm; Xiong et al. 2020, arXiv 2002.04745), which
trains without warm-up. It is called as transformers' own encoder-decoders are (T5, BART).

Shapes: B texts, S source tokens, T target tokens, D width, H heads, V vocabulary; d_k and d_v are
the widths of a head's keys and values. A mask is boolean: True where a query may look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """softmax(Q Kᵀ / √d_k) V (section 3.2.1): (..., T, d_v).

    query: (..., T, d_k); key: (..., S, d_k); value: (..., S, d_v); mask: (..., T, S). A query that
    may look nowhere gets zeros.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # (..., T, S)
    if mask is None:
        return scores.softmax(dim=-1) @ value
    # The lowest number, not -inf: the softmax of -inf everywhere, and its gradient, are no numbers.
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0) @ value


def sinusoidal_positions(length: int, dim: int) -> torch.Tensor:
    """Sines (even places) and cosines (odd) of wavelengths 2π to 10000·2π: (length, dim), 3.5."""
    positions = torch.arange(length, dtype=torch.float32)[:, None]
    frequencies = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angles = positions * frequencies  # (length, dim / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each over D / H of the width (section 3.2.2)."""

    def __init__(self, embedding_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(embedding_dim, embedding_dim)
        self.key = nn.Linear(embedding_dim, embedding_dim)
        self.value = nn.Linear(embedding_dim, embedding_dim)
        self.output = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, x: torch.Tensor, seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (B, T, D) looks at `seen` (B, S, D) where mask (B, 1, T, S) says so: (B, T, D)."""
        query, key, value = (
            projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T or S, D / H)
            for projected in (self.query(x), self.key(seen), self.value(seen))
        )
        heads = attention(query, key, value, mask)
        joined: torch.Tensor = self.output(heads.transpose(1, 2).flatten(-2))
        return joined


def feed_forward(embedding_dim: int, hidden_dim: int) -> nn.Sequential:
    """Two linear maps with a ReLU between, the same at every position (section 3.3)."""
    return nn.Sequential(
        nn.Linear(embedding_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, embedding_dim)
    )


class EncoderLayer(nn.Module):
    """The source looks at itself, then each position is transformed alone."""

    def __init__(self, embedding_dim: int, num_heads: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(embedding_dim, num_heads)
        self.feed_forward = feed_forward(embedding_dim, hidden_dim)
        self.attention_norm = nn.LayerNorm(embedding_dim)
        self.feed_forward_norm = nn.LayerNorm(embedding_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x


class DecoderLayer(nn.Module):
    """The target looks back at itself and at the source, then each position is transformed."""

    def __init__(self, embedding_dim: int, num_heads: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(embedding_dim, num_heads)
        self.cross_attention = MultiHeadAttention(embedding_dim, num_heads)
        self.feed_forward = feed_forward(embedding_dim, hidden_dim)
        self.attention_norm = nn.LayerNorm(embedding_dim)
        self.cross_attention_norm = nn.LayerNorm(embedding_dim)
        self.feed_forward_norm = nn.LayerNorm(embedding_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor,
        source: torch.Tensor,
        source_mask: torch.Tensor,
    ) -> torch.Tensor:
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        normed = self.cross_attention_norm(x)
        x = x + self.dropout(self.cross_attention(normed, source, source_mask))
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """What a `TransformerModel` was made with, under the names that transformers uses."""

    vocab_size: int
    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int  # in the encoder, and as many in the decoder
    intermediate_size: int
    pad_token_id: int
    decoder_start_token_id: int
    eos_token_id: int
    is_encoder_decoder: bool = True


@dataclass(frozen=True)
class TransformerOutput:
    """logits: (B, T, V)."""

    logits: torch.Tensor


class TransformerModel(nn.Module):
    """Encoder, decoder, and one matrix of embeddings for source, target and output (section 3.4).

    `feed_forward_dim` 0 stands for the paper's 4 D. `dropout` is the paper's P_drop.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        num_heads: int,
        num_layers: int,
        *,
        feed_forward_dim: int = 0,
        dropout: float = 0.1,
        pad_token_id: int = 0,
        decoder_start_token_id: int = 0,
        eos_token_id: int = 1,
    ) -> None:
        super().__init__()
        if embedding_dim % num_heads or embedding_dim % 2:
            raise ValueError(
                f"embedding_dim = {embedding_dim} must be even and divisible by num_heads = "
                f"{num_heads}: choose another width"
            )
        self.config = TransformerConfig(
            vocab_size=vocab_size,
            hidden_size=embedding_dim,
            num_attention_heads=num_heads,
            num_hidden_layers=num_layers,
            intermediate_size=feed_forward_dim or 4 * embedding_dim,
            pad_token_id=pad_token_id,
            decoder_start_token_id=decoder_start_token_id,
            eos_token_id=eos_token_id,
        )
        sizes = embedding_dim, num_heads, self.config.intermediate_size, dropout
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(num_layers))
        self.encoder_norm = nn.LayerNorm(embedding_dim)
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(num_layers))
        self.decoder_norm = nn.LayerNorm(embedding_dim)
        self.output = nn.Linear(embedding_dim, vocab_size, bias=False)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # √D times such an embedding has variance 1, as the positions' sines have about.
        nn.init.normal_(self.embedding.weight, std=embedding_dim**-0.5)
        self.output.weight = self.embedding.weight

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def get_output_embeddings(self) -> nn.Linear:
        """The map from decoder states to logits; its weight, (V, D), is that of the embeddings."""
        return self.output

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        decoder_input_ids: torch.Tensor,
        decoder_attention_mask: torch.Tensor | None = None,
        **_ignored: object,
    ) -> TransformerOutput:
        """Logits of the token that follows each of `decoder_input_ids` (B, T).

        input_ids: (B, S); attention_mask (B, S) and decoder_attention_mask (B, T) are 0 or False at
        padding, which stands at the end.
        """
        states = self.hidden(
            input_ids,
            attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
        )
        return TransformerOutput(self.output(states))

    def hidden(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        decoder_input_ids: torch.Tensor,
        decoder_attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The decoder's states before they are projected to logits: (B, T, D)."""
        source_mask = _looked_at(input_ids, attention_mask)
        source = self.encode(input_ids, attention_mask)
        length = decoder_input_ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril()
        mask = _looked_at(decoder_input_ids, decoder_attention_mask) & causal  # (B, 1, T, T)
        x = self._embed(decoder_input_ids)
        for layer in self.decoder:
            x = layer(x, mask, source, source_mask)
        states: torch.Tensor = self.decoder_norm(x)
        return states

    def encode(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the encoder makes of the source: (B, S, D)."""
        mask = _looked_at(input_ids, attention_mask)
        x = self._embed(input_ids)
        for layer in self.encoder:
            x = layer(x, mask)
        states: torch.Tensor = self.encoder_norm(x)
        return states

    @torch.no_grad()
    def generate_greedy(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        max_new_tokens: int,
    ) -> torch.Tensor:
        """The likeliest token again and again: (B, up to max_new_tokens), padded after the end."""
        end, pad = self.config.eos_token_id, self.config.pad_token_id
        written = torch.full_like(input_ids[:, :1], self.config.decoder_start_token_id)
        ended = torch.zeros_like(written, dtype=torch.bool)  # (B, 1)
        for _ in range(max_new_tokens):
            states = self.hidden(input_ids, attention_mask, decoder_input_ids=written)
            chosen = self.output(states[:, -1:]).argmax(dim=-1).masked_fill(ended, pad)
            written = torch.cat([written, chosen], dim=1)
            ended |= chosen == end
            if ended.all():
                break
        return written[:, 1:]

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings times √D (section 3.4) plus positions: (B, length, D)."""
        dim = self.config.hidden_size
        positions = sinusoidal_positions(ids.shape[1], dim).to(self.embedding.weight)
        embedded: torch.Tensor = self.dropout(self.embedding(ids) * math.sqrt(dim) + positions)
        return embedded


def _looked_at(ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Which of `ids` (B, S) any query may look at: (B, 1, 1, S)."""
    if attention_mask is None:
        attention_mask = torch.ones_like(ids)
    return attention_mask.bool()[:, None, None, :]
