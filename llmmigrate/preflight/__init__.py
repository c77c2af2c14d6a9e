"""Preflight: what can be known of a migration before any traffic."""

from llmmigrate.preflight.case import Asked, Place, Unreadable
from llmmigrate.preflight.catalogue import RULES
from llmmigrate.preflight.finding import Finding, RuleInfo
from llmmigrate.preflight.folding import findings_of
from llmmigrate.preflight.requests import read_request, read_requests
from llmmigrate.preflight.static import Report, check, check_document, family

__all__ = [
    "RULES",
    "Asked",
    "Finding",
    "Place",
    "Report",
    "RuleInfo",
    "Unreadable",
    "check",
    "check_document",
    "family",
    "findings_of",
    "read_request",
    "read_requests",
]
