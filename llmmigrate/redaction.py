"""What must never be written down: keys, tokens and passwords by their published forms, and what identifies people.

Forms: OpenAI, Anthropic and OpenRouter keys (`sk-…`), Google (`AIza…`), AWS access keys (`AKIA…`), GitHub (`ghp_…`),
Slack tokens and web hooks, Hugging Face (`hf_…`), JSON web tokens, bearer tokens, PEM private keys, and passwords in
URLs. Of people: e-mail addresses, phone numbers with a country code or in the North American form, payment cards
(ISO/IEC 7812, with their check digit) and IBANs (ISO 13616, with their check digits).
"""

from __future__ import annotations

import re

_FORMS = {
    "an API key": re.compile(r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}|\bAIza[0-9A-Za-z_-]{35}\b|\bhf_[A-Za-z0-9]{20,}\b"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})\b"),
    "a Slack token": re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/\S+"),
    "a web token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    "a bearer token": re.compile(r"\b[Bb]earer\s+[A-Za-z0-9._~+/-]{16,}=*"),
    "a private key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[\sA-Za-z0-9+/=]*-----END [A-Z ]*PRIVATE KEY-----)?"
    ),
    "a password in a URL": re.compile(r"(?:[a-z][a-z0-9+.-]{0,20})?://[^\s/:@]+:[^\s/@]+@"),
}


def secret_in(text: str) -> str | None:
    """Name the kind of the first secret that a text holds, None where it holds none that is known."""
    return next((kind for kind, form in _FORMS.items() if form.search(text)), None)


_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_PHONE = re.compile(
    r"(?<![\w+])(?:\+\d{1,3}[ .()/-]{0,2}(?:\d[ .()/-]{0,2}){6,13}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?!\w)"
)
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){11,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")


def redact(text: str) -> str:
    """Return a text with every secret, and what identifies a person, replaced by its kind, such as `[e-mail]`."""
    for kind, form in _FORMS.items():
        text = form.sub(f"[{kind.partition(' ')[2]}]", text)
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(lambda found: "[IBAN]" if _is_iban(found[0]) else found[0], text)
    text = _CARD.sub(lambda found: "[card]" if _is_card(found[0]) else found[0], text)
    return _PHONE.sub("[phone]", text)


def _is_card(text: str) -> bool:
    """Check the last digit by the formula of ISO/IEC 7812-1, annex B (Luhn)."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and any(digits)


def _is_iban(text: str) -> bool:
    """Check the two check digits by ISO 13616: the number, its head moved to its end, is 1 modulo 97."""
    plain = text.replace(" ", "")
    return len(plain) >= 15 and int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1
