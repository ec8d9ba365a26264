"""Duplicates: exact and near ones of documents, and lines that stand in many of them.

In the order of reading: `fingerprints` (what is noted about a document, from `shingles`, `minhash`
and `lines`), then `duplicates` (which documents and lines go, by `grouping` and `clusters`).
"""
