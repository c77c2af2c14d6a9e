"""Mistral: what its API refuses of requests in OpenAI's form (MIS-01 to MIS-04). It is called directly."""

from __future__ import annotations

from collections.abc import Iterator

from llmmigrate.models.anything import items, mapping
from llmmigrate.models.call_ids import with_own_ids
from llmmigrate.models.providers import OPTIONS_OF_CLIENTS
from llmmigrate.preflight.case import Case, Hit, Rule, Way
from llmmigrate.preflight.finding import RuleInfo

_NEVER = ("logprobs", "top_logprobs", "logit_bias", "user")
_KNOWN = {
    "frequency_penalty", "guardrails", "max_tokens", "metadata", "n", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_mode", "random_seed", "reasoning_effort", "response_format",
    "safe_prompt", "stop", "temperature", "tool_choice", "tools", "top_p",
}  # fmt: skip
_RENAMED = {"seed": "random_seed", "max_completion_tokens": "max_tokens"}


def _mistral(way: Way) -> bool:
    return way.to.dialect == "mistral"


def _ids(case: Case) -> Iterator[Hit]:
    _, changed = with_own_ids(case.messages, "mistral")
    if changed:
        at = next(i for i, one in enumerate(case.messages) if with_own_ids([one], "mistral")[1])
        yield Hit("ids of tool calls are sent as others, nine letters and digits long", ("messages", at))


def _order(case: Case) -> Iterator[Hit]:
    if not case.messages:
        return
    last = case.messages[-1]
    role, end = last.get("role"), ("messages", len(case.messages) - 1)
    if role not in {"user", "tool"} and not (role == "assistant" and last.get("prefix") is True):
        yield Hit(f"a conversation that ends with the role {role} is refused with 400", end)
    calls = results = 0
    for index, message in enumerate(case.messages):
        asked = items(message.get("tool_calls"))
        calls += len(asked)
        results += message.get("role") == "tool"
        if asked and message.get("content"):
            yield Hit("an assistant's message with both content and tool_calls is refused", ("messages", index))
        if message.get("role") == "developer":
            yield Hit("the role developer is refused: Mistral knows system, user, assistant, tool", ("messages", index))
    if calls != results:
        yield Hit(f"{calls} calls of tools and {results} results are refused: they must be as many", ("messages",))


def _choice(case: Case) -> Iterator[Hit]:
    if case.forced == "named" and case.tools:
        name = mapping(mapping(case.given("tool_choice")).get("function")).get("name")
        yield Hit(f"the tool that tool_choice names ({name}) is lost where LiteLLM calls", ("params", "tool_choice"))


def never(case: Case) -> Iterator[Hit]:
    """Yield the parameters that Mistral has not."""
    for name in _NEVER:
        if case.given(name) is not None:
            yield Hit(f"{name} is refused with 422: Mistral has nothing like it", ("params", name))


def _params(case: Case) -> Iterator[Hit]:
    yield from never(case)
    for name in case.params:
        if case.given(name) is None:
            continue
        if name in _RENAMED:
            yield Hit(f"{name} is sent as {_RENAMED[name]}", ("params", name), "note")
        elif name not in _KNOWN and name not in _NEVER and name not in OPTIONS_OF_CLIENTS and name != "extra_body":
            words = f"{name} is not known to be Mistral's, which refuses with 422 what it does not know"
            yield Hit(words, ("params", name), "warning")


RULES = (
    Rule(
        RuleInfo(
            "MIS-01",
            "note",
            "ids of tool calls are nine letters and digits at Mistral",
            "'Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9' (400). Calls from here write others, "
            "the same for the same; LiteLLM and other callers send them as they are.",
            "Nothing for requests that go through a router; elsewhere, write such ids before the history is sent.",
            "llmmigrate.models.call_ids; github.com/anomalyco/opencode/issues/1680",
        ),
        _mistral,
        of_case=_ids,
    ),
    Rule(
        RuleInfo(
            "MIS-02",
            "error",
            "Mistral is strict about the order of a conversation",
            "It must end with the user, a tool, or an assistant's message with prefix: true; every call of a tool has "
            "one result; content and tool_calls do not stand in one message.",
            "Bring the history into that form before it is sent.",
            "the bodies of api.mistral.ai in tests/providers/mistral.py; "
            "github.com/mistralai/client-python, ChatCompletionRequest.Messages",
        ),
        _mistral,
        of_case=_order,
    ),
    Rule(
        RuleInfo(
            "MIS-03",
            "note",
            "LiteLLM does not tell Mistral which tool is named",
            "A tool_choice by name is dropped by LiteLLM's Mistral client, and required is sent as any. Calls from "
            "here are direct and send it as it is; an application that calls LiteLLM itself gets any tool.",
            "Offer only that tool, with tool_choice: required.",
            "litellm.llms.mistral.chat.transformation, MistralConfig.map_openai_params; "
            "github.com/mistralai/client-python, ChatCompletionRequestToolChoice",
        ),
        _mistral,
        of_case=_choice,
    ),
    Rule(
        RuleInfo(
            "MIS-04",
            "error",
            "Mistral has no logprobs, logit_bias or user",
            "'Extra inputs are not permitted' (422), as for whatever it does not know. Its seed is called random_seed.",
            "Leave them out of that side and of the requests.",
            "github.com/mistralai/client-python, ChatCompletionRequest; "
            "litellm.llms.mistral.chat.transformation, MistralConfig.get_supported_openai_params",
        ),
        _mistral,
        of_case=_params,
    ),
)
