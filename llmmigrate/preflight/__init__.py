"""Preflight: what can be known of a migration before any traffic."""

from llmmigrate.preflight.finding import RULES, Finding, RuleInfo
from llmmigrate.preflight.static import Report, check, check_document, family

__all__ = ["RULES", "Finding", "Report", "RuleInfo", "check", "check_document", "family"]
