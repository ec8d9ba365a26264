"""Provenance: keys, signatures, the ledger, cards: what is signed and can be checked (no torch)."""
