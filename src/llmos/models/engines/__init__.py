"""Engines: whatever answers requests to a model, in this process or behind a URL."""
