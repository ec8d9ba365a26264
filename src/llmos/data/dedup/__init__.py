"""Duplicates: exact and near ones of documents, and lines that stand in many of them.

In the order of reading: `fingerprints` (what is noted about a document: `shingles`, `minhash`,
`lines`), `duplicates` (which documents and lines are to go: `grouping`, `clusters`), `removals`.
"""
