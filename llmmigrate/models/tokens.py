"""How many tokens a request is to a model: by that model's own tokenizer, or not known.

Another model's tokenizer is no estimate: counts of one text differ by a third between families, and with them cost and
what fits into a context. OpenAI's tokenizers are public and local (tiktoken, with the files that LiteLLM ships);
Anthropic and Google count on their servers, which take a key; a server of one's own counts for its model. Everything
else is `Unknown`, with the reason. Images are counted by OpenAI's published rules (`image_tokens`) and by Anthropic and
Google; what would have to be fetched is not known to anybody.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from llmmigrate.exceptions import ModelError
from llmmigrate.models.base import ChatRequest
from llmmigrate.models.image_tokens import image_tokens
from llmmigrate.models.images import attachments, is_elsewhere, without_attachments
from llmmigrate.models.providers import PROVIDERS, split
from llmmigrate.models.tools import dialect_of, to_provider

COUNTED_BY_THE_PROVIDER = {"anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY"}
"""Providers with an endpoint that counts (`/v1/messages/count_tokens`, `:countTokens`), and the key that opens it."""

_ANTHROPIC = ("system", "messages", "tools", "tool_choice", "thinking")
_GEMINI = ("contents", "system_instruction", "systemInstruction", "tools", "toolConfig", "tool_config")
_TIMEOUT_S = 20.0
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Unknown:
    """No tokenizer of a model can be had here; `why` says so in a sentence, and what would help."""

    why: str


class TokenCounter(ABC):
    """Count by one model's tokenizer; `source` names it for people. Close it on the event loop that used it.

    `images` says by what else images are counted, None where the tokenizer's own server has them.
    """

    source: str
    images: str | None = None

    @abstractmethod
    async def count(self, request: ChatRequest) -> int:
        """Return the tokens of a request's prompt, tools included; raises ModelError where it cannot be counted."""

    async def close(self) -> None:  # noqa: B027 (a local tokenizer has nothing to close)
        """Close what was opened."""


def counter_for(
    model: str, *, api_base: str | None = None, environ: Mapping[str, str] = os.environ
) -> TokenCounter | Unknown:
    """Return what counts tokens for a LiteLLM model string; imports no library until it counts."""
    provider = model.partition("/")[0] if "/" in model else "openai"
    base = api_base or _base_of(provider, environ)
    if base is not None and provider in PROVIDERS and not _is_known(base):
        return ServerCounter(split(model)[1], base)
    if provider == "openai":
        return _tiktoken(split(model)[1])
    key = COUNTED_BY_THE_PROVIDER.get(provider)
    if key is None:
        return _of_nobody(model)
    if not environ.get(key):
        return Unknown(f"{provider.title()} counts tokens on its server only, and {key} is not set")
    return ProviderCounter(model, api_base=base, environ=environ)


def _of_nobody(model: str) -> Unknown:
    return Unknown(f"no tokenizer of {model} can be had: neither public, nor counted by its server")


def _base_of(provider: str, environ: Mapping[str, str]) -> str | None:
    known = PROVIDERS.get(provider)
    named = (environ.get(variable) for variable in (known.base_variables if known is not None else ()))
    return next((base for base in named if base), None)


def _is_known(base: str) -> bool:
    """Tell the addresses of providers, which have no `/tokenize`, from those of one's own server."""
    host = urlsplit(base).hostname or ""
    return host.endswith((".openai.com", ".azure.com", ".mistral.ai", ".anthropic.com", ".googleapis.com"))


def _tiktoken(model: str) -> TokenCounter | Unknown:
    _use_shipped_encodings()
    import tiktoken

    try:
        return TiktokenCounter(model, tiktoken.encoding_name_for_model(model))
    except KeyError:
        return Unknown(f"tiktoken does not know {model}: a newer tiktoken may")


def _use_shipped_encodings() -> None:
    """Let tiktoken find its files where LiteLLM ships them, so that counting needs no network."""
    if "TIKTOKEN_CACHE_DIR" in os.environ or "DATA_GYM_CACHE_DIR" in os.environ:
        return
    from importlib.util import find_spec

    found = find_spec("litellm")
    if found is not None and found.origin is not None:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(found.origin).parent / "litellm_core_utils" / "tokenizers")


class TiktokenCounter(TokenCounter):
    """OpenAI's tokenizer on this machine. Tools are counted as LiteLLM counts them, which is close, not exact."""

    images = "OpenAI's published rule"

    def __init__(self, model: str, encoding: str) -> None:
        self._model = model
        self.source = f"tiktoken {encoding}"
        self._encoding = encoding

    async def count(self, request: ChatRequest) -> int:
        return await asyncio.to_thread(self._count, request)

    def _count(self, request: ChatRequest) -> int:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        import litellm
        from litellm.litellm_core_utils.token_counter import openai_tokenizer_encoding_name

        messages = request.sent_messages()
        try:
            seen = sum(image_tokens(self._model, part) for part in attachments(messages))
        except ValueError as error:
            raise ModelError("bad_request", str(error)) from error
        if openai_tokenizer_encoding_name(self._model) != self._encoding:
            raise ModelError("bad_request", f"LiteLLM would count {self._model} by another tokenizer")
        try:
            return seen + int(
                litellm.token_counter(
                    model=self._model,
                    messages=[without_attachments(message) for message in messages],
                    tools=[dict(tool) for tool in request.tools] or None,
                )
            )
        except Exception as error:
            raise ModelError("bad_request", f"cannot be counted: {type(error).__name__}") from error


class _Asking(TokenCounter):
    """A counter that asks a server; its connections are of the event loop that first counts."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def _post(
        self, url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), trust_env=True)
        try:
            async with self._session.post(
                url,
                data=orjson.dumps(body),
                headers={"content-type": "application/json", **(headers or {})},
                allow_redirects=False,
            ) as answer:
                raw = await answer.content.read(_MOST_BYTES)
                if answer.status != 200:
                    raise ModelError("bad_request", f"{self.source}: the server answers {answer.status}")
            found = orjson.loads(raw)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError) as error:
            raise ModelError("connection", f"{self.source}: {type(error).__name__}") from error
        return found if isinstance(found, dict) else {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class ProviderCounter(_Asking):
    """A provider's own count, of the very request that LiteLLM would send it.

    LiteLLM's own `acount_tokens` sends tools and their results to Anthropic in OpenAI's shape (1.106.2), which is
    refused, and then counts by another tokenizer. Sources: Anthropic, "Count Message tokens"
    (`POST /v1/messages/count_tokens` gives `{"input_tokens": n}`); Google, "models.countTokens"
    (`generateContentRequest` gives `{"totalTokens": n}`).

    Images are counted with it. One by its address is not: LiteLLM would fetch it here, and Anthropic refuses to count
    it ("Token counting", platform.claude.com/docs/build-with-claude/token-counting: images as base64).
    """

    def __init__(self, model: str, *, api_base: str | None = None, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._provider, _, self._name = model.partition("/")
        self._model = model
        self._key = environ.get(COUNTED_BY_THE_PROVIDER[self._provider], "")
        self._base = (api_base or environ.get(f"{self._provider.upper()}_API_BASE") or "").rstrip("/")
        self.source = f"{self._provider.title()}'s own count"

    async def count(self, request: ChatRequest) -> int:
        if any(is_elsewhere(part) for part in attachments(request.sent_messages())):
            raise ModelError("bad_request", "an image or a file by its address is not fetched, and so not counted")
        body = await asyncio.to_thread(self._body, request)
        if self._provider == "anthropic":
            url = f"{(self._base or 'https://api.anthropic.com').removesuffix('/v1')}/v1/messages/count_tokens"
            headers = {"x-api-key": self._key, "anthropic-version": "2023-06-01"}
            asked = {"model": self._name, **{name: body[name] for name in _ANTHROPIC if name in body}}
            return _whole((await self._post(url, asked, headers)).get("input_tokens"))
        url = f"{self._base or 'https://generativelanguage.googleapis.com/v1beta'}/models/{self._name}:countTokens"
        asked = {"model": f"models/{self._name}", **{name: body[name] for name in _GEMINI if name in body}}
        config = body.get("generationConfig")
        if isinstance(config, Mapping) and "mediaResolution" in config:  # an image's tokens go by it
            asked["generationConfig"] = {"mediaResolution": config["mediaResolution"]}
        found = await self._post(url, {"generateContentRequest": asked}, {"x-goog-api-key": self._key})
        return _whole(found.get("totalTokens"))

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """Return what LiteLLM would send."""
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        import litellm
        from litellm.types.utils import CallTypes
        from litellm.utils import return_raw_request

        litellm.suppress_debug_info = True  # it prints to the terminal
        tools = to_provider([dict(tool) for tool in request.tools], dialect_of(self._model)).tools
        asked: dict[str, Any] = {"model": self._model, "messages": deepcopy(request.sent_messages()), "max_tokens": 1}
        if tools:
            asked["tools"] = tools
        found = return_raw_request(CallTypes.completion, {**asked, "_skip_mcp_handler": True})
        body = found.get("raw_request_body")
        if not isinstance(body, dict):
            raise ModelError("bad_request", f"{self._model} cannot be asked this")
        return body


class ServerCounter(_Asking):
    """The tokenizer behind a server of one's own: vLLM's `/tokenize`, or llama.cpp's with its `/apply-template`.

    Sources: vLLM, "OpenAI-compatible server", tokenizer API (`{"count": n}` for messages); llama.cpp,
    tools/server/README.md (`/apply-template` gives `{"prompt": text}`, `/tokenize` of `content` `{"tokens": [...]}`).
    Neither counts images: up to 0.16 vLLM's gives one token for each (github.com/vllm-project/vllm/pull/35834).
    """

    def __init__(self, model: str, api_base: str) -> None:
        super().__init__()
        self._model = model
        root = api_base.partition("?")[0].rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")
        self._root = root
        self.source = f"the tokenizer of {urlsplit(root).netloc}"

    async def count(self, request: ChatRequest) -> int:
        asked: dict[str, Any] = {"messages": [dict(message) for message in request.sent_messages()]}
        if next(attachments(asked["messages"]), None) is not None:
            raise ModelError("bad_request", f"{self.source} counts no images and files")
        if request.tools:
            asked["tools"] = [dict(tool) for tool in request.tools]
        found = await self._post(
            f"{self._root}/tokenize", {"model": self._model, "add_generation_prompt": True, **asked}
        )
        if "count" in found:
            return _whole(found["count"])
        prompt = (await self._post(f"{self._root}/apply-template", asked)).get("prompt")
        if not isinstance(prompt, str):
            raise ModelError("bad_request", f"{self.source} does not count")
        options = {"content": prompt, "add_special": True, "parse_special": True}
        tokens = (await self._post(f"{self._root}/tokenize", options)).get("tokens")
        if not isinstance(tokens, list):
            raise ModelError("bad_request", f"{self.source} does not count")
        return len(tokens)


def _whole(count: object) -> int:
    if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
        return count
    raise ModelError("malformed", "a count of tokens that is none")
