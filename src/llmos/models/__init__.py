"""Models: families, tokenizers, arrays, checkpoints, scoring, generation."""
