"""Objectives by the name a recipe uses: (model, rows of a batch) -> loss in nats per token."""

from llmos.training.objectives.causal_lm import causal_lm_loss

OBJECTIVES = {"causal_lm": causal_lm_loss}
