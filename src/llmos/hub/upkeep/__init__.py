"""Upkeep: backup, restore, garbage collection, re-hashing, statistics."""
