"""What crosses with the traffic: failures, parameters that were hidden, open conversations (ERR, DROP-01, HIST-01)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from llmmigrate.models.anything import items, mapping
from llmmigrate.models.call_ids import with_own_ids
from llmmigrate.preflight.case import Case, Hit, Rule, Way
from llmmigrate.preflight.finding import RuleInfo
from llmmigrate.preflight.rules import anthropic, gemini, mistral, openai

_RETRIES = {
    "openai": "OpenAI's 429 insufficient_quota is no credit, which no other try changes",
    "anthropic": "Anthropic answers 529 when it is overloaded, and 413 to what is too large",
    "gemini": "Google tells the wait in the body (RetryInfo), and a spent quota of a day is 429 too",
}
_BODIES = {
    "openai": "error {message, type, param, code}",
    "anthropic": "type: error, error {type, message}",
    "gemini": "error {code, message, status}",
    "mistral": "object: error, message, type, code",
}
_OWN = ("thinking_blocks", "reasoning_content", "provider_specific_fields")
_REFUSED: dict[str, tuple[Callable[[Case], Iterable[Hit]], ...]] = {
    "anthropic": (anthropic.sampling, anthropic.never),
    "openai": (openai.temperature, openai.stops, openai.of_reasoning),
    "gemini": (gemini.never,),
    "mistral": (mistral.never,),
}


def _differ(way: Way) -> bool:
    return way.before.dialect != way.to.dialect


def _told(way: Way, facts: dict[str, str], join: str) -> Iterator[Hit]:
    if way.direction == "there" and _differ(way):
        known = [facts[model.dialect] for model in (way.before, way.to) if model.dialect in facts]
        if len(known) == 2:
            yield Hit(join.join(known), ("model",), direction="both")


def _retries(way: Way) -> Iterator[Hit]:
    return _told(way, _RETRIES, "; ")


def _bodies(way: Way) -> Iterator[Hit]:
    return _told(way, _BODIES, " becomes ")


def _dropped(case: Case) -> Iterator[Hit]:
    if not case.given("drop_params"):
        return
    looks = _REFUSED.get(case.to.dialect, ())
    hidden = sorted({str(hit.at[1]) for look in looks for hit in look(case) if hit.at[:1] == ("params",)})
    what = f"it hid {', '.join(hidden)}" if hidden else "it hides nothing here"
    yield Hit(f"drop_params has no effect: {what}", ("params", "drop_params"))


def _conversations(way: Way) -> Iterator[Hit]:
    if way.direction == "there" and _differ(way):
        unit = way.document.migration.canary.unit
        when = "that is open at a rollback" if unit == "conversation" else f"of a {unit} that changes sides"
        yield Hit(f"a conversation {when} goes on with the other's history", ("model",), "note", "both")


def _history(case: Case) -> Iterator[Hit]:
    if case.asked is None or case.to.name == case.way.before.name:
        return
    own = "the history has what only another provider knows"
    for index, message in enumerate(case.messages):
        fields = [name for name in _OWN if message.get(name)]
        kinds = {str(mapping(one).get("type")) for one in items(message.get("content"))}
        fields += sorted(kinds & {"thinking", "redacted_thinking", "tool_use", "tool_result"})
        if fields and case.to.dialect in {"openai", "mistral"}:
            refused = case.to.dialect == "mistral"
            end = "is sent as it is, and refused with 422" if refused else "is sent as it is, and may be refused"
            yield Hit(f"{own}: {', '.join(fields)} {end}", ("messages", index), "error" if refused else None)
            return
    if case.to.dialect == "openai":
        yield from _long_ids(case)
    yield from _foreign_calls(case)


def _long_ids(case: Case) -> Iterator[Hit]:
    _, changed = with_own_ids(case.messages, "openai")
    if changed:
        at = next(i for i, one in enumerate(case.messages) if with_own_ids([one], "openai")[1])
        yield Hit("ids of tool calls longer than 40 characters are sent as others", ("messages", at), "note")


def _foreign_calls(case: Case) -> Iterator[Hit]:
    if not _differ(case.way):
        return
    index = next((i for i, message in enumerate(case.messages) if message.get("tool_calls")), None)
    if index is not None:
        words = f"the history has calls of tools, here of {case.way.before.name}: test such a one on this model"
        yield Hit(words, ("messages", index, "tool_calls"), "note")


RULES = (
    Rule(
        RuleInfo(
            "DROP-01",
            "warning",
            "drop_params hides what a model refuses",
            "Elsewhere it drops in silence what the new model does not take. Requests from here are refused instead, "
            "so that it is seen.",
            "Take drop_params out, and then each parameter that it hid.",
            "docs/providers.md; docs.litellm.ai/docs/completion/drop_params",
        ),
        of_case=_dropped,
    ),
    Rule(
        RuleInfo(
            "ERR-01",
            "note",
            "providers tell differently when to try again",
            "A router knows all of them (docs/providers.md), with what retry-after-ms, retry-after and x-should-retry "
            "say. An application with retries of its own must know both as long as the way back is open.",
            "Leave retries to the router, or handle both providers.",
            "llmmigrate.models.errors and its sources",
        ),
        of_way=_retries,
    ),
    Rule(
        RuleInfo(
            "ERR-02",
            "note",
            "providers have different bodies of errors",
            "A router gives one class for each failure; code of your own that reads bodies sees another form.",
            "Read the class of the error, not the provider's body.",
            "llmmigrate.models.errors and its sources",
        ),
        of_way=_bodies,
    ),
    Rule(
        RuleInfo(
            "HIST-01",
            "warning",
            "open conversations bring the other provider's history",
            "Ids of tool calls, signatures and fields of one provider reach the other in the midst of a conversation, "
            "on the way there and on the way back.",
            "Keep canary.unit: conversation, and put conversations of each model into the suite of the other.",
            "llmmigrate.models.call_ids; github.com/charmbracelet/crush/issues/1590 (422 of api.mistral.ai); OpenAI "
            "answers string_above_max_length to ids above 40 characters",
        ),
        of_way=_conversations,
        of_case=_history,
    ),
)
