"""Metrics: from text and scores to numbers (no torch)."""
