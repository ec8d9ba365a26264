"""Blobs by their sha256, on the local disk or in an S3-compatible store."""
