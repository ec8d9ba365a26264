"""Tokens and invitation codes: made at random, kept only as their sha256."""

from __future__ import annotations

import hashlib
import secrets

TOKEN_START = "hf_"  # clients of the Hugging Face protocol look for it


def new_token() -> str:
    """A token of 192 random bits."""
    return TOKEN_START + secrets.token_hex(24)


def new_code() -> str:
    """A code for an invitation or a session: 192 random bits, fit for an address."""
    return secrets.token_urlsafe(24)


def fingerprint(secret: str) -> str:
    """What is kept of a token or code. They are random, so one round of sha256 is enough (people's
    passwords go through argon2: see passwords.py)."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
