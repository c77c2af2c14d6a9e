"""How many tokens an image is to OpenAI's models, by the rules that OpenAI publishes; a model without one has none.

Source: OpenAI, "Images and vision", Model sizing behavior and Calculating costs
(developers.openai.com/api/docs/guides/images-vision, as of autumn 2026; a token more or less, it says, for rounding).
Its word for how a side is rounded, "to integer pixels", is to the nearest: of gpt-4.1, 2049 × 513 is billed as two rows
of tiles and 2050 × 513 as one (community.openai.com/t/1281361).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmmigrate.models.images import Size, size_of

PATCH, TILE = 32, 512
"""The sides of a patch and of a tile, in pixels."""

MOST_PATCHES = 30_000
"""An image of more is refused, after all resizing."""

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True)
class Fit:
    """What an image is made smaller for: its longer side in pixels, and patches; None is no limit of patches.

    Where `published` is false, OpenAI no longer says how an image above these is made smaller.
    """

    side: int
    patches: int | None = None
    published: bool = True


@dataclass(frozen=True, slots=True)
class Patches:
    """A model that counts patches: hundredths of a token for each, and the fit by `detail`."""

    hundredths: int
    fits: Mapping[str, Fit]

    def tokens(self, size: Size, detail: str) -> int:
        """Return an image's tokens; ValueError where they are not known."""
        fit = self.fits.get(detail)
        if fit is None:
            raise ValueError(f"OpenAI publishes no rule for detail {detail[:20]!r} of this model")
        width, height = _within(size, fit.side)
        count = _count(width, height, PATCH)
        above = fit.patches is not None and count > fit.patches
        if not fit.published and (above or max(size) > fit.side):
            raise ValueError("OpenAI no longer says how images are made smaller for it, and this one must be")
        if above and fit.patches is not None:
            count = _fewer(width, height, fit.patches)
        if count > MOST_PATCHES:
            raise ValueError(f"it takes no image of more than {MOST_PATCHES:,} patches of {PATCH} × {PATCH} pixels")
        return -(-count * self.hundredths // 100)


@dataclass(frozen=True, slots=True)
class Tiles:
    """A model that counts tiles: tokens of an image, and of each tile of it unless detail is low."""

    base: int
    tile: int

    def tokens(self, size: Size, detail: str) -> int:
        """Return an image's tokens; ValueError where they are not known."""
        if detail == "low":
            return self.base
        if detail not in ("high", "auto"):
            raise ValueError(f"OpenAI publishes no rule for detail {detail[:20]!r} of this model")
        width, height = _within(size, 2048)
        short = min(width, height)
        if short > 768:
            width, height = max(1, width * 768 // short), max(1, height * 768 // short)
        return self.base + self.tile * _count(width, height, TILE)


_SMALL, _HIGH, _LARGE = Fit(512), Fit(2048, 2500), Fit(6000, 10_000)
_ONE = dict.fromkeys(("low", "high", "auto"), Fit(2048, 6144))
_FORMER = dict.fromkeys(("low", "high", "auto"), Fit(2048, 1536, published=False))
_5_6 = Patches(120, {"low": _SMALL, "high": _HIGH, "original": Fit(65_535), "auto": Fit(65_535)})
_5_4 = Patches(120, {"low": Fit(2048, 6144), "high": _HIGH, "original": _LARGE, "auto": _HIGH})

RULES: Mapping[str, Patches | Tiles] = {
    "gpt-5.6-sol": _5_6,
    "gpt-5.6-terra": _5_6,
    "gpt-5.6-luna": _5_6,
    "gpt-5.5": Patches(120, {"low": _SMALL, "high": _HIGH, "original": _LARGE, "auto": _LARGE}),
    "gpt-5.4": _5_4,
    "gpt-5.4-mini": _5_4,
    "gpt-5.4-nano": _5_4,
    "gpt-5.2": Patches(120, _ONE),
    "gpt-5.1": Tiles(70, 140),
    "gpt-5": Tiles(70, 140),
    "gpt-5-mini": Patches(120, _FORMER),
    "gpt-5-nano": Patches(150, _FORMER),
    "gpt-4.1": Tiles(85, 170),
    "gpt-4.1-mini": Patches(162, _ONE),
    "gpt-4.1-nano": Patches(246, _FORMER),
    "gpt-4o": Tiles(85, 170),
    "gpt-4o-mini": Tiles(2833, 5667),
    "o1": Tiles(75, 150),
    "o1-pro": Tiles(75, 150),
    "o3": Tiles(75, 150),
    "o4-mini": Patches(172, _FORMER),
}
"""By OpenAI's name, without the day of a snapshot."""


def rule_of(model: str) -> Patches | Tiles | None:
    """Return the rule of a model by OpenAI's own name, None where none is published."""
    return RULES.get(_SNAPSHOT.sub("", model))


def image_tokens(model: str, part: Mapping[str, Any]) -> int:
    """Return the tokens of an `image_url` part of a message to OpenAI's model; ValueError where they are not known."""
    if part.get("type") != "image_url":
        raise ValueError(f"a part of type {str(part.get('type'))[:20]!r} is not counted")
    rule = rule_of(model)
    if rule is None:
        raise ValueError(f"OpenAI publishes no rule for images to {model}")
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    detail = image.get("detail") if isinstance(image, Mapping) else None
    if not isinstance(url, str):
        raise ValueError("an image without an address or data")
    if detail == "low" and isinstance(rule, Tiles):
        return rule.base  # of any size, also of one that is elsewhere
    return rule.tokens(size_of(url), str(detail or "auto"))


def _count(width: int, height: int, each: int) -> int:
    return -(-width // each) * -(-height // each)


def _within(size: Size, side: int) -> Size:
    """Make an image smaller until its longer side fits, to the nearest pixel; never larger."""
    longer = max(size)
    if longer <= side:
        return size
    width, height = (max(1, (2 * one * side + longer) // (2 * longer)) for one in size)
    return width, height


def _fewer(width: int, height: int, most: int) -> int:
    """Return the patches of an image that was made smaller to have no more than `most`."""
    shrink = math.sqrt(PATCH * PATCH * most / (width * height))
    wide, high = width * shrink / PATCH, height * shrink / PATCH
    shrink *= min(math.floor(wide) / wide, math.floor(high) / high)
    return _count(math.floor(width * shrink), math.floor(height * shrink), PATCH)
