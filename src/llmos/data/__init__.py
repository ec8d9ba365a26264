"""Data: a member's documents, from files to packed sequences."""
