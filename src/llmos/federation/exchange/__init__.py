"""Exchanges: how the objects of a run travel."""
