"""Keys and tokens that open an account, by the prefixes and lengths that their issuers give them.

Sources: the issuers' own pages (named beside each) and GitHub's list of secret-scanning patterns.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

from llmos.data.steps.personal_data.patterns import Bounds, Finder, Finders, Pattern
from llmos.data.steps.personal_data.view import View

_FEWEST_CHARACTERS = 6
"""Different characters that a key has at least; sk-xxxxxxxx... in a manual has fewer."""


def _varied(view: View, match: re.Match[str]) -> Bounds | None:
    """No stand-in for a key: its last sixteen characters differ enough."""
    return match.span() if len(set(match[0][-16:])) >= _FEWEST_CHARACTERS else None


def _web_token(view: View, match: re.Match[str]) -> Bounds | None:
    """RFC 7519: the first part is a JSON object that names its algorithm."""
    head = match[0].partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return match.span() if isinstance(header, dict) and "alg" in header else None


def _secret(view: View, match: re.Match[str]) -> Bounds | None:
    """The value alone, not the name that is given to it."""
    return match.span(1) if len(set(match[1])) >= _FEWEST_CHARACTERS else None


def _key(prefix: str, rest: str) -> Pattern:
    """A key that begins with `prefix` where a word begins."""
    literal = re.escape(prefix)
    regex = rf"{literal}(?<![\w\-]{literal}){rest}(?![\w\-])"
    return Pattern(re.compile(regex), _varied, (prefix,))


# RFC 7468 and its kin of OpenSSH and PGP: the whole block
_PRIVATE_KEY = Pattern(
    re.compile(
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^\-]|-(?!----))++"
        r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    ),
    hints=("PRIVATE KEY",),
)
_TOKENS: tuple[Finder, ...] = (
    # AWS, IAM identifiers: unique ids; the secret is 40 characters of Base64 behind its name
    *(_key(prefix, "[A-Z2-7]{16}") for prefix in ("AKIA", "ASIA")),
    Pattern(
        re.compile(
            r"secret_access_key[\"']? ?[:=]{1,2} ?[\"']?([A-Za-z0-9/+]{40})(?![\w/+=])", re.I
        ),
        _secret,
        ("secret_access_key", "SECRET_ACCESS_KEY"),
    ),
    # GitHub: "Behind GitHub's new authentication token formats"; GitLab: token prefixes
    *(_key(f"gh{kind}_", "[A-Za-z0-9]{36,251}+") for kind in "pousr"),
    _key("github_pat_", "[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _key("glpat-", r"[\w\-]{20,64}+"),
    # Slack: token types
    *(_key(f"xox{kind}-", r"[A-Za-z0-9\-]{10,250}+") for kind in "abeoprs"),
    _key("xapp-", r"\d-[A-Za-z0-9\-]{20,250}+"),
    # Google: API keys, OAuth client secrets, access tokens
    _key("AIza", r"[\w\-]{35}"),
    _key("GOCSPX-", r"[\w\-]{28}"),
    _key("ya29.", r"[\w\-]{30,1024}+"),
    # OpenAI, old and new; Anthropic
    _key("sk-", r"(?:(?:proj|svcacct|admin|ant)-[\w\-]{32,200}+|[A-Za-z0-9]{40,64}+)"),
    # Hugging Face: user access tokens, organisation tokens of old
    _key("hf_", "[A-Za-z0-9]{34,40}+"),
    _key("api_org_", "[A-Za-z0-9]{34,40}+"),
    # Stripe, npm, PyPI, SendGrid
    *(_key(f"{kind}_live_", "[A-Za-z0-9]{24,247}+") for kind in ("sk", "rk")),
    _key("npm_", "[A-Za-z0-9]{36}"),
    _key("pypi-AgEIcHlwaS5vcmc", r"[\w\-]{50,1000}+"),
    _key("SG.", r"[\w\-]{22}\.[\w\-]{43}"),
    # RFC 7519, JSON web token
    Pattern(
        re.compile(
            r"eyJ(?<![\w\-]eyJ)[\w\-]{10,4096}+\.[\w\-]{4,65536}+\.[\w\-]{16,1024}+(?![\w\-])"
        ),
        _web_token,
        ("eyJ",),
    ),
)
API_KEY: Finders = {"text": (_PRIVATE_KEY,), "tokens": _TOKENS}
