"""Cost and quota: prompt caches, and requests a minute (CACHE-01, QUOTA-01)."""

from __future__ import annotations

from collections.abc import Iterator

from llmmigrate.models import costmap
from llmmigrate.models.anything import items, mapping
from llmmigrate.preflight.case import Case, Hit, Model, Path, Rule, Way
from llmmigrate.preflight.finding import RuleInfo

_MILLION = 1_000_000
_REFUSES_MARKS = {"openai", "mistral"}


def _caches(way: Way) -> Iterator[Hit]:
    if way.before.flag("supports_prompt_caching") is not True:
        return
    if way.to.entry is None:
        yield Hit("whether it caches prompts is not known: cached tokens may cost the full price", ("model",), "note")
    elif way.to.flag("supports_prompt_caching") is not True:
        cached, full = costmap.facts(way.before.name).cached_input_cost, costmap.facts(way.to.name).input_cost
        words = "the cost map knows no prompt cache of it"
        if cached is None or full is None:
            yield Hit(f"{words}: cached tokens cost the full price", ("model",))
        else:
            prices = f"tokens that were cached at ${cached * _MILLION:.6g} a million cost ${full * _MILLION:.6g}"
            yield Hit(f"{words}: {prices}", ("model",), None if full > cached else "note")
    elif way.direction == "there":
        least, before = way.to.number("prompt_cache_min_tokens"), way.before.number("prompt_cache_min_tokens")
        words = "caches are cold at each step of the ramp, and on the way back"
        if least is not None and least > (before or 0):
            words += f"; {way.to.name} caches prompts of {least:,.0f} tokens and more"
        yield Hit(words, ("model",), "note", "both")


def _marks(case: Case) -> Iterator[Hit]:
    if case.to.dialect not in _REFUSES_MARKS:
        return
    words = "cache_control is refused: only Anthropic's form has it"
    if case.given("cache_control") is not None:
        yield Hit(words, ("params", "cache_control"), "error")
    for index, message in enumerate(case.messages):
        if any("cache_control" in mapping(one) for one in (message, *items(message.get("content")))):
            yield Hit(words, ("messages", index), "error")
            break
    for tool in case.tools:
        function = mapping(mapping(tool).get("function"))
        if "cache_control" in mapping(tool) or "cache_control" in function:
            yield Hit(words, ("tools", str(function.get("name", ""))), "error")
            break


def _quota(way: Way) -> Iterator[Hit]:
    if way.per_second is None:
        return
    asked = way.per_second * 60
    quotas = list(_quotas(way.to))
    if not quotas and way.to.dialect != "other":
        words = f"no quota of it is known: hold {asked:,.0f} requests a minute against that of your account"
        yield Hit(f"{words}, and declare it as {way.to.side}.limits", ("model",), "note")
    projected = mapping(way.document.migration.monitoring.projection).get("tokens_per_request")
    wanted = {"requests": asked, "tokens": asked * projected if projected else None}
    when = "at 100%" if way.direction == "there" else "after a rollback"
    for what, most, whose, at in quotas:
        peak = wanted[what]
        if peak is not None and peak > most:
            yield Hit(f"{peak:,.0f} {what} a minute {when} are more than the {most:,.0f} {whose}", at)
        elif peak is None and at != ("model",):
            words = f"whether {most:,.0f} {what} a minute are enough {when} is not known"
            yield Hit(f"{words}: nothing projects the tokens of a request (llmmigrate estimate --write)", at, "note")


def _quotas(model: Model) -> Iterator[tuple[str, float, str, Path]]:
    """Give what may be asked of a model a minute, whose word that is, and its place: declared, else the cost map's."""
    for what, key in (("requests", "rpm"), ("tokens", "tpm")):
        declared = getattr(model.limits, key, None)
        usual = model.number(key) if model.dialect != "other" else None
        if declared is not None:
            yield what, declared, f"that {model.side}.limits.{key} declares", ("limits", key)
        elif usual:
            yield what, usual, "of the cost map", ("model",)


RULES = (
    Rule(
        RuleInfo(
            "CACHE-01",
            "warning",
            "prompt caches do not move with a migration",
            "A target without a cache makes long prompts dearer at once, and every cache is cold when its traffic "
            "comes: the first figures of cost and latency are not those that stay.",
            "Reckon cold and warm cost apart, and take cache_control out where the provider has no such thing.",
            "LiteLLM's cost map, supports_prompt_caching, prompt_cache_min_tokens and prices; "
            "github.com/nadeko-bot/nadekobot/issues/34 (400 of api.openai.com)",
        ),
        of_way=_caches,
        of_case=_marks,
    ),
    Rule(
        RuleInfo(
            "QUOTA-01",
            "warning",
            "a quota below the traffic",
            "At 100% all requests go to the target, and after a rollback all go back at once: a quota that is too low "
            "then answers 429. Needs --rps; tokens need monitoring.projection.tokens_per_request.",
            "Have the quota raised before the migration, and keep that of the current model until its end. Declare "
            "your account's as limits of current and target: the cost map has a provider's usual one.",
            "limits of the document; else LiteLLM's cost map, rpm and tpm: a provider's usual quota, not that of your "
            "account",
        ),
        of_way=_quota,
    ),
)
