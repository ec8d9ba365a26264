"""Metrics: from text and scores to numbers (no torch). Their names are in `names`."""
