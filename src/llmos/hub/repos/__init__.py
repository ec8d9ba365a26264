"""Repositories: made, listed, committed to, indexed."""
