"""Findings: what is wrong or worth a look, where it stands, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
Direction = Literal["there", "back", "both"]


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """One rule of the check: what it looks for, why that matters, what to do, and where that is known from.

    `severity` is the usual one; a finding may be milder. `source` is empty where the rule is the product's own.
    """

    id: str
    severity: Severity
    title: str
    why: str
    instead: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `file` is relative to the project, line and column count from 1.

    `direction` says which way of a migration it is about: to the target, back to the current model, or both. `requests`
    is how many requests it stands for, and `places` where the first of them are.
    """

    rule: str
    severity: Severity
    message: str
    file: str
    line: int = 1
    column: int = 1
    path: str = ""
    route: str | None = None
    revision: str | None = None
    hint: str | None = None
    direction: Direction | None = None
    requests: int | None = None
    places: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "route": self.route,
            "revision": self.revision,
            "direction": self.direction,
            "requests": self.requests,
            "places": list(self.places),
        }


DOCUMENT_RULES = (
    RuleInfo(
        "DOC-01",
        "error",
        "the document cannot be read",
        "A value that is not understood would be guessed, and a key that is not known would be ignored.",
        "Correct the place that the finding names; `llmmigrate schema` gives an editor the whole form.",
    ),
    RuleInfo(
        "DOC-02",
        "error",
        "a file that the document names is not there",
        "Suites, prompts and rubrics are part of the agreement; without them nothing can be compared.",
        "Add the file, or correct its path: it is relative to the configuration.",
    ),
    RuleInfo(
        "GRA-01",
        "error",
        "revisions do not form one line",
        "With two heads, a missing parent or a `current` that is not the parent's `target`, nobody can say what the "
        "route runs on.",
        "llmmigrate rebase REV puts one head behind the other.",
    ),
    RuleInfo(
        "GRA-02",
        "error",
        "the head file does not name the head",
        "migrations/heads/ROUTE makes two branches that both add a migration conflict in git instead of in production.",
        "llmmigrate rebase REV, or write the head's revision into the file.",
    ),
    RuleInfo(
        "EDT-01",
        "error",
        "a document was edited after it was applied",
        "Approvals and history are bound to the content of a document; what runs is the text that was applied.",
        "Put the change into a new revision, or record it: llmmigrate repair REV --reason TEXT.",
    ),
    RuleInfo(
        "EDT-02",
        "error",
        "a document differs from the one that was merged",
        "What is on the base branch may be applied somewhere that this check cannot see.",
        "Put the change into a new revision; where it was never applied anywhere, name that store with --db.",
    ),
    RuleInfo(
        "SUI-01",
        "error",
        "the regression suite cannot be read",
        "No traffic begins before the suite passes, and half of a suite shows half of the truth.",
        "Correct the place that the finding names: docs/suite.md has the form of suites.",
    ),
    RuleInfo(
        "DEP-01",
        "error",
        "a model retires before the migration ends",
        "Until the end of observation both models must answer: the way back leads to the current one.",
        "Start earlier, shorten the plan, or choose a target that lives longer.",
    ),
    RuleInfo(
        "DEP-02",
        "warning",
        "the retirement date of a model is not known",
        "A plan cannot be held against a date that nobody wrote down.",
        "Write retires: YYYY-MM-DD from the provider's announcement; for a model of your own, how long you keep it.",
    ),
    RuleInfo(
        "OWN-01",
        "warning",
        "nobody is named who may roll back",
        "At 2 AM somebody must know that it is theirs to undo.",
        "Write owners.rollback: [on-call].",
    ),
    RuleInfo(
        "OWN-02",
        "warning",
        "a group is not in the configuration",
        "A stage that waits for a group without members waits for ever.",
        'Name its people under [groups] in llmmigrate.toml: ml-leads = ["maria@example.com"].',
    ),
    RuleInfo(
        "WVD-01",
        "warning",
        "something is waived",
        "A waiver is a decision; a reviewer should see all of them in one place.",
        "Read the reason. Where it does not convince you, write the rule or the section in the place of the waiver.",
    ),
    RuleInfo(
        "SUP-01",
        "warning",
        "this release cannot act on it",
        "What is not enforced is not obeyed by halves: it holds the gate that it is about.",
        "Waive the rule with a reason, or take the key out.",
    ),
    RuleInfo(
        "JDG-01",
        "warning",
        "the judge is of the family of a model that it judges",
        "Models prefer answers in their own style: a judge of either family favours one arm.",
        "Choose a judge of another provider, or calibrate it against people.",
    ),
    RuleInfo(
        "DEMO-01",
        "warning",
        "profile demo lowers the minimum counts",
        "Sixty requests per arm decide too early for real users.",
        "Take `profile: demo` out.",
    ),
    RuleInfo(
        "REQ-01",
        "error",
        "a line is no request",
        "What cannot be read cannot be checked, and would count as checked.",
        "Write one JSON object a line, in the form of OpenAI's chat completions, or such a one as `request`.",
    ),
)
