"""All rules by their id: those of documents, and those of providers."""

from __future__ import annotations

from llmmigrate.preflight.finding import DOCUMENT_RULES, RuleInfo
from llmmigrate.preflight.rules import PROVIDER_RULES

RULES: dict[str, RuleInfo] = {info.id: info for info in (*DOCUMENT_RULES, *(rule.info for rule in PROVIDER_RULES))}

__all__ = ["PROVIDER_RULES", "RULES"]
