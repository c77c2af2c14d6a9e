"""OpenAI-compatible providers: where they are, which key opens them, and where their chat completions differ.

Addresses and names of environment variables are those of the providers' documents and of LiteLLM
(`get_llm_provider_logic.py`), so that what works with LiteLLM works here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llmmigrate.exceptions import ModelError
from llmmigrate.models.base import ChatRequest
from llmmigrate.models.call_ids import with_own_ids
from llmmigrate.models.tools import to_provider

_OPENAI_HOST = "api.openai.com"
_OPENAI = f"https://{_OPENAI_HOST}/v1"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: `base` is None where each user runs a server of their own."""

    key: str
    base: str | None = None
    base_variables: tuple[str, ...] = ()
    key_header: str = "authorization"
    asks_usage: bool = True


PROVIDERS = {
    "openai": Provider("OPENAI_API_KEY", _OPENAI, ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "mistral": Provider("MISTRAL_API_KEY", "https://api.mistral.ai/v1", ("MISTRAL_API_BASE",), asks_usage=False),
    "azure": Provider("AZURE_API_KEY", None, ("AZURE_API_BASE",), key_header="api-key"),
    "hosted_vllm": Provider("HOSTED_VLLM_API_KEY", None, ("HOSTED_VLLM_API_BASE",)),
    "lm_studio": Provider("LM_STUDIO_API_KEY", None, ("LM_STUDIO_API_BASE",)),
    "llamafile": Provider("LLAMAFILE_API_KEY", None, ("LLAMAFILE_API_BASE",)),
    "deepseek": Provider("DEEPSEEK_API_KEY", "https://api.deepseek.com/v1", ("DEEPSEEK_API_BASE",)),
    "groq": Provider("GROQ_API_KEY", "https://api.groq.com/openai/v1", ("GROQ_API_BASE",)),
    "xai": Provider("XAI_API_KEY", "https://api.x.ai/v1", ("XAI_API_BASE",)),
    "openrouter": Provider("OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", ("OPENROUTER_API_BASE",)),
}
"""Mistral gives usage with every stream and is not asked for it; the others give it where `stream_options` asks."""

OPTIONS_OF_CLIENTS = {
    "api_base", "api_key", "base_url", "custom_llm_provider", "drop_params", "extra_headers", "max_retries",
    "num_retries", "request_timeout", "stream", "stream_options", "timeout",
}  # fmt: skip
"""What LiteLLM takes beside the parameters of a model: not part of a request."""

_COUNTS_REASONING = re.compile(r"(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d\d))")
"""The o-series and GPT-5 and later (OAI-01)."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent: where to, with which headers, what became of the parameters on the way, and what is not taken."""

    url: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    dropped: tuple[str, ...]
    unsupported: tuple[str, ...] = ()


def split(model: str) -> tuple[str, str]:
    """Return provider and the provider's own name of a LiteLLM model string; a bare name is OpenAI's."""
    provider, slash, name = model.partition("/")
    return (provider, name) if slash and provider in PROVIDERS else ("openai", model)


def prepare(request: ChatRequest, *, stream: bool, environ: Mapping[str, str] = os.environ) -> Call:
    """Make the call of a request; raises ModelError where its address or key is not known.

    The key comes from the environment only and is in nothing but a header. A server that `api_base` names may do
    without one.
    """
    name, model = split(request.model)
    provider = PROVIDERS[name]
    set_base = next((environ[variable] for variable in provider.base_variables if environ.get(variable)), None)
    base = request.api_base or set_base or provider.base
    if base is None:
        raise ModelError("bad_request", f"{request.model} needs an api_base, or {provider.base_variables[0]}")
    key = environ.get(provider.key)
    if not key and base == provider.base:
        raise ModelError("auth", f"{provider.key} is not set: {request.model} cannot be called")
    headers = {"content-type": "application/json"}
    if key:
        headers[provider.key_header] = f"Bearer {key}" if provider.key_header == "authorization" else key
    params, dropped = _adapted(request.asked(), name, model, base)
    try:
        tools = to_provider(params.get("tools") or (), _dialect(name, base))
    except TypeError as error:
        raise ModelError("bad_request", f"{request.model} cannot be asked this: its tools are not JSON") from error
    if tools.tools:
        params["tools"] = tools.tools
    messages, renamed = with_own_ids(request.sent_messages(), _dialect(name, base))
    body: dict[str, Any] = {"model": model, "messages": messages, **params}
    if stream:
        body["stream"] = True
        if provider.asks_usage:
            body["stream_options"] = {"include_usage": True}
    return Call(
        _address(base, name, model, environ), headers, body, dropped + tools.changed + renamed, tools.unsupported
    )


def counts_reasoning(name: str) -> bool:
    """Tell OpenAI's o-series and GPT-5 and later, which count reasoning as output, by a model's own name (OAI-01)."""
    return _COUNTS_REASONING.match(name) is not None


def _dialect(provider: str, base: str) -> str:
    """Return whose rules the tools of a server follow: another server that is called like OpenAI's has its own."""
    if provider == "openai" and not is_openai(base):
        return "other"
    return provider if provider in {"openai", "mistral"} else "openai" if provider == "azure" else "other"


def is_openai(base: str) -> bool:
    """Tell OpenAI's own addresses; those of a region (`eu.api.openai.com`) are among them."""
    host = urlsplit(base).hostname or ""
    return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")


def _address(base: str, provider: str, model: str, environ: Mapping[str, str]) -> str:
    """Return where chat completions are; an Azure base without a path is one of deployments (`azure/DEPLOYMENT`)."""
    path, question, query = base.partition("?")
    path = path.rstrip("/")
    if provider == "azure" and "/openai" not in path:
        path = f"{path}/openai/deployments/{model}"
        if not query:
            question, query = "?", f"api-version={environ.get('AZURE_API_VERSION', '2024-10-21')}"
    if not path.endswith("/chat/completions"):
        path = f"{path}/chat/completions"
    return f"{path}{question}{query}"


def _adapted(asked: Mapping[str, Any], provider: str, model: str, base: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters as this provider names them, and what that changed.

    Sources: OAI-01 (OpenAI's API reference, `max_tokens` is "not compatible with o-series models"), MIS-04 (Mistral's
    API reference: `random_seed`, `max_tokens`).
    """
    params: dict[str, Any] = {}
    dropped = []
    renamed = {}
    if provider == "openai" and is_openai(base) and counts_reasoning(model):
        renamed = {"max_tokens": "max_completion_tokens"}
    elif provider == "mistral":
        renamed = {"seed": "random_seed", "max_completion_tokens": "max_tokens"}
    for name, value in asked.items():
        if name in OPTIONS_OF_CLIENTS:
            dropped.append(f"{name}: not sent")
        elif name == "extra_body" and isinstance(value, Mapping):
            params.update(value)
        elif name in renamed and renamed[name] not in asked:
            params[renamed[name]] = value
            dropped.append(f"{name}: sent as {renamed[name]}")
        else:
            params[name] = value
    if isinstance(params.get("n"), int) and params["n"] > 1:
        dropped.append(f"n: the first of {params['n']} answers is kept")
    return params, tuple(dropped)
