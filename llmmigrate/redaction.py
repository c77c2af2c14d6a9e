"""What must never be written down: keys, tokens and passwords, by their published forms.

Forms: OpenAI, Anthropic and OpenRouter keys (`sk-…`), Google (`AIza…`), AWS access keys (`AKIA…`), GitHub (`ghp_…`),
Slack tokens and web hooks, Hugging Face (`hf_…`), bearer tokens, PEM private keys, and passwords in URLs.
"""

from __future__ import annotations

import re

_FORMS = {
    "an API key": re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}|\bAIza[0-9A-Za-z_-]{35}\b|\bhf_[A-Za-z0-9]{20,}\b"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})\b"),
    "a Slack token": re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/\S+"),
    "a bearer token": re.compile(r"\b[Bb]earer\s+[A-Za-z0-9._~+/-]{16,}=*"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in a URL": re.compile(r"[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@"),
}


def secret_in(text: str) -> str | None:
    """Name the kind of the first secret that a text holds, None where it holds none that is known."""
    return next((kind for kind, form in _FORMS.items() if form.search(text)), None)
