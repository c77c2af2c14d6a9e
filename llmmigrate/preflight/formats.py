"""Findings in the forms that CI systems read: GitHub annotations, JUnit XML, SARIF 2.1.0 (OASIS)."""

from __future__ import annotations

import json
from collections.abc import Iterable

from llmmigrate import __version__
from llmmigrate.annotations import Case, Level, workflow_command
from llmmigrate.annotations import junit as junit_report
from llmmigrate.preflight.catalogue import RULES
from llmmigrate.preflight.finding import Finding, RuleInfo, Severity
from llmmigrate.preflight.static import Report

_LEVELS: dict[Severity, Level] = {"error": "error", "warning": "warning", "note": "notice"}


def github(findings: Iterable[Finding]) -> str:
    """Write one workflow command a finding: GitHub shows it at its line of the change."""
    return "\n".join(
        workflow_command(
            _LEVELS[one.severity], _words(one), file=one.file, line=one.line, col=one.column, title=one.rule
        )
        for one in findings
    )


def _words(one: Finding) -> str:
    where = f"{one.path}: " if one.path else ""
    return f"{where}{one.message}" + (f"\n{one.hint}" if one.hint else "")


def junit(report: Report) -> str:
    """Write one test case a document, failed where it has errors; warnings go to its output."""
    by_name: dict[str, list[Finding]] = {document.name: [] for document in report.documents}
    for one in report.findings:
        by_name.setdefault(one.file.rpartition("/")[2], []).append(one)
    return junit_report(
        "llmmigrate check",
        [
            Case(
                name,
                failures=[line(one) for one in found if one.severity == "error"],
                output=[line(one) for one in found if one.severity != "error"],
            )
            for name, found in by_name.items()
        ],
    )


def line(one: Finding) -> str:
    """Write a finding in one line, as compilers do."""
    where = f"{one.path}: " if one.path else ""
    return f"{one.file}:{one.line}:{one.column}: {one.severity} {one.rule}: {where}{one.message}"


def _help(rule: RuleInfo) -> str:
    return f"{rule.instead}\nSource: {rule.source}" if rule.source else rule.instead


def sarif(report: Report) -> str:
    """Write a SARIF log of one run, with the rules that were broken."""
    used = sorted({one.rule for one in report.findings})
    rules = [
        {
            "id": rule,
            "shortDescription": {"text": RULES[rule].title},
            "fullDescription": {"text": RULES[rule].why},
            "help": {"text": _help(RULES[rule])},
            "defaultConfiguration": {"level": RULES[rule].severity},
        }
        for rule in used
    ]
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": used.index(one.rule),
            "level": one.severity,
            "message": {"text": _words(one)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": one.file},
                        "region": {"startLine": one.line, "startColumn": one.column},
                    }
                }
            ],
        }
        for one in report.findings
    ]
    driver = {
        "name": "llmmigrate",
        "semanticVersion": __version__,
        "informationUri": "https://pypi.org/project/llmmigrate/",
        "rules": rules,
    }
    log = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)
