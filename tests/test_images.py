"""What an image is to a model is read off its header and counted by the model's own rule; or it is not known."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.exceptions import ModelError, RefusedError
from llmmigrate.foresight.estimate import estimate
from llmmigrate.foresight.estimated import Prompt
from llmmigrate.models import ChatRequest
from llmmigrate.models.image_tokens import MOST_PATCHES, RULES, image_tokens, rule_of
from llmmigrate.models.images import MOST_BYTES, attachments, is_elsewhere, size_of, without_attachments
from llmmigrate.models.tokens import ProviderCounter, ServerCounter, counter_for
from tests.test_estimate import document
from tests.test_tokens import KEYS, Servers, counted

pytestmark = [
    pytest.mark.xdist_group("litellm"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
]


def png(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5s", 13, b"IHDR", width, height, b"\x08\x02\x00\x00\x00")


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00"


def jpeg(width, height, before=b"", frame=0xC0):
    return b"\xff\xd8" + before + b"\xff" + struct.pack(">BHBHHB", frame, 17, 8, height, width, 3)


def segment(marker, length):
    return b"\xff" + struct.pack(">BH", marker, length + 2) + b"\xff\xc0" * (length // 2) + b"x" * (length % 2)


def webp(width, height, kind):
    if kind == "VP8X":
        low = [struct.pack("<I", one - 1)[:3] for one in (width, height)]
        chunk = b"VP8X" + struct.pack("<I", 10) + b"\x10\x00\x00\x00" + b"".join(low)
    elif kind == "VP8L":
        bits = (width - 1) | (height - 1) << 14
        chunk = b"VP8L" + struct.pack("<I", 9) + b"\x2f" + struct.pack("<I", bits)
    else:
        chunk = b"VP8 " + struct.pack("<I", 99) + b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def data_url(content, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def part(width=1024, height=1024, detail=None, url=None):
    image = {"url": url or data_url(png(width, height))}
    return {"type": "image_url", "image_url": {**image, **({"detail": detail} if detail else {})}}


def asked(model, *parts):
    return ChatRequest(model, [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}])


SIDES = st.integers(1, 2**14 - 1)
SEGMENTS = st.lists(st.builds(segment, st.sampled_from([0xE0, 0xE1, 0xE2, 0xC4, 0xDB, 0xFE]), st.integers(0, 5000)))


@given(width=SIDES, height=SIDES, before=SEGMENTS, fill=st.integers(0, 3), tail=st.binary(max_size=50))
def test_a_size_is_read_off_the_header_of_every_kind_that_models_take(width, height, before, fill, tail):
    kinds = [
        png(width, height),
        gif(width, height),
        jpeg(width, height, b"".join(before) + b"\xff" * fill),
        jpeg(width, height, frame=0xC2),
        *(webp(width, height, kind) for kind in ("VP8X", "VP8L", "VP8 ")),
    ]
    for content in kinds:
        assert size_of(data_url(content + tail, "image/whatever")) == (width, height)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"RIFF....WEBPVP8", png(5, 5)[:12], b"GIF89a"]))
def test_whatever_bytes_come_they_are_a_size_or_none(content, head):
    with suppress(ValueError):
        assert min(size_of(data_url(head + content))) > 0


@given(kind=st.sampled_from([png(9, 7), gif(9, 7), jpeg(9, 7, segment(0xE1, 40)), webp(9, 7, "VP8X")]), data=st.data())
def test_a_header_that_is_cut_off_is_no_size_of_something_else(kind, data):
    cut = kind[: data.draw(st.integers(0, len(kind) - 1))]
    with suppress(ValueError):
        assert size_of(data_url(cut)) == (9, 7)


@given(st.text(max_size=200))
def test_whatever_text_stands_for_an_image_is_read_or_refused(text):
    for url in (text, f"data:image/png;base64,{text}"):
        with pytest.raises(ValueError, match=r"not fetched|can be read"):
            size_of(url)


def test_only_the_beginning_of_an_image_is_looked_at():
    late = jpeg(8, 8, segment(0xE1, 65_000) * (MOST_BYTES // 65_000 + 1))
    with pytest.raises(ValueError, match="can be read"):
        size_of(data_url(late))
    assert size_of(data_url(png(8, 8) + b"x" * 3 * MOST_BYTES)) == (8, 8)
    lines = base64.encodebytes(jpeg(640, 480, segment(0xE1, 500))).decode()
    assert size_of(f"data:image/jpeg;name=a.jpg;base64,{lines}") == (640, 480)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (2**31, 5)])
def test_an_image_without_a_side_is_none(width, height):
    with pytest.raises(ValueError, match="can be read"):
        size_of(data_url(png(width, height)))


PUBLISHED = [
    # "Images and vision", cost calculation examples
    ("gpt-5.4", "high", 1024, 1024, 1229),
    ("gpt-5.4", "high", 2048, 2048, 3000),
    # former examples of that guide
    ("gpt-4o", "high", 1024, 1024, 765),
    ("gpt-4o", "high", 2048, 4096, 1105),
    ("gpt-4o", "low", 4096, 8192, 85),
    ("gpt-4o-mini", None, 100, 100, 2833 + 5667),
    # billed, less eight tokens of text: community.openai.com/t/1281361
    ("gpt-4.1", "high", 2049, 513, 1453 - 8),
    ("gpt-4.1", "high", 2050, 513, 773 - 8),
    # by hand: without a detail each model has its own
    ("gpt-5.4", None, 2048, 2048, 3000),
    ("gpt-5.4", "low", 2048, 2048, 4916),
    ("gpt-5.5", None, 2048, 2048, 4916),
    ("gpt-5.5", "low", 2048, 2048, 308),
    ("gpt-5.5", "original", 6000, 6000, 12_000),
    ("gpt-5.6-sol", "auto", 4000, 2500, 11_850),
    ("gpt-5.6-sol", "high", 4000, 2500, 2949),
    ("gpt-5.2-2025-12-11", "low", 4096, 4096, 4916),
    ("gpt-4.1-mini-2025-04-14", None, 1024, 1024, 1659),
    ("gpt-5-nano", None, 1024, 1024, 1536),
    ("o3-2025-04-16", "high", 768, 512, 75 + 2 * 150),
]


@pytest.mark.parametrize(("model", "detail", "width", "height", "tokens"), PUBLISHED)
def test_openai_s_rules_come_to_what_openai_says_they_do(model, detail, width, height, tokens):
    assert image_tokens(model, part(width, height, detail)) == tokens
    assert image_tokens(model, part(height, width, detail)) == tokens


@given(
    model=st.sampled_from(sorted(RULES)),
    detail=st.sampled_from(["low", "high", "auto", "original"]),
    size=st.tuples(*[st.integers(1, 200_000)] * 2),
)
def test_no_size_is_beyond_a_rule_s_limits(model, detail, size):
    try:
        tokens = rule_of(model).tokens(size, detail)
    except ValueError:
        return
    fit = getattr(RULES[model], "fits", {}).get(detail)
    assert tokens > 0
    if fit is None:
        assert tokens <= RULES[model].base + 8 * RULES[model].tile
    else:
        assert tokens <= -(-min(fit.patches or MOST_PATCHES, MOST_PATCHES) * RULES[model].hundredths // 100)


@pytest.mark.parametrize(
    ("model", "image", "words"),
    [
        ("gpt-4-turbo", part(), "no rule for images to gpt-4-turbo"),
        ("gpt-5-chat-latest", part(), "no rule for images"),
        ("gpt-4.1", part(detail="original"), "no rule for detail 'original'"),
        ("gpt-5.2", part(detail="original"), "no rule for detail 'original'"),
        ("gpt-5-mini", part(4000, 4000), "no longer says"),
        ("gpt-5.6-sol", part(9000, 9000), "no image of more than 30,000 patches"),
        ("gpt-4o", part(url="https://example.com/a.png"), "not fetched"),
        ("gpt-4o", part(url="file:///etc/passwd"), "not fetched"),
        ("gpt-4o", part(url=data_url(b"<svg/>")), "can be read"),
        ("gpt-4o", {"type": "image_url", "image_url": 7}, "without an address"),
        ("gpt-4o", {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}, "'input_audio'"),
    ],
)
def test_what_has_no_rule_or_no_size_is_not_known_and_says_why(model, image, words):
    with pytest.raises(ModelError, match=words):
        asyncio.run(counter_for(model, environ={}).count(asked(model, image)))


def test_images_come_on_top_of_the_text_of_a_request():
    counter = counter_for("openai/gpt-4o", environ={})
    words = asyncio.run(counter.count(asked("openai/gpt-4o")))
    both = asyncio.run(counter.count(asked("openai/gpt-4o", part(), part(detail="low"))))
    assert both == words + 765 + 85
    elsewhere = part(detail="low", url="https://example.com/a.png")
    assert asyncio.run(counter.count(asked("openai/gpt-4o", elsewhere))) == words + 85  # of any size


COUNTED = [
    ("anthropic/claude-3-7-sonnet-20250219", "low", 42),
    ("gemini/gemini-2.5-flash", "low", 43),
    ("gemini/gemini-3-pro-preview", None, 43),
]


@pytest.mark.parametrize(("model", "detail", "tokens"), COUNTED)
def test_providers_count_the_images_in_the_body_that_would_be_sent(model, detail, tokens):
    content = png(640, 480) + bytes(range(256)) * 40
    found, servers = counted(
        lambda url: ProviderCounter(model, api_base=url, environ=KEYS),
        asked(model, part(url=data_url(content), detail=detail)),
    )
    assert found == tokens
    sent = json.dumps(servers.requests[0][1])
    assert base64.b64encode(content).decode() in sent
    assert ("MEDIA_RESOLUTION_LOW" in sent) == ("gemini" in model and detail == "low")


ELSEWHERE = [
    part(url="https://example.com/a.png"),
    part(url="http://127.0.0.1:1/a.png"),
    part(url="gs://bucket/a.png"),
    part(url="data:image/png;base64,gs://bucket/a"),
    part(url="data:,http://127.0.0.1:1/a.png"),
    {"type": "image_url", "image_url": "https://example.com/a.png"},
    {"type": "file", "file": {"file_id": "https://example.com/a.pdf"}},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
]
UNKNOWN = r"not fetched|not counted|can be read"


@pytest.mark.parametrize("image", ELSEWHERE)
@pytest.mark.parametrize("model", ["anthropic/claude-3-7-sonnet-20250219", "gemini/gemini-2.5-flash", "gpt-4o"])
def test_what_a_captured_request_points_to_is_never_fetched(model, image, monkeypatch):
    def connect(*_args):
        raise AssertionError("fetched")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    request = asked(model, image)
    counter = counter_for(model, environ=KEYS)
    with pytest.raises(ModelError, match=UNKNOWN):
        asyncio.run(counter.count(request))
    beside = ChatRequest(model, [{"role": "assistant", "content": "Here.", "images": [image]}])
    with pytest.raises(ModelError, match=UNKNOWN):
        asyncio.run(counter.count(beside))


def test_a_server_of_one_s_own_does_not_count_images():
    with pytest.raises(ModelError, match="counts no images and files"):
        counted(lambda url: ServerCounter("own", f"{url}/vllm/v1"), asked("hosted_vllm/own", part()), Servers())


def test_the_parts_of_a_message_are_text_or_attachments():
    image = part()
    message = {"role": "user", "content": ["a", {"type": "text", "text": "b"}, image], "images": [image]}
    assert list(attachments([message, {"role": "user", "content": "c"}, {"role": "assistant", "content": None}])) == [
        image,
        image,
    ]
    assert without_attachments(message) == {"role": "user", "content": ["a", {"type": "text", "text": "b"}]}
    assert not is_elsewhere(image)


def test_an_estimate_says_by_what_images_are_counted_and_which_ones_are_not_known():
    own = document("openai/gpt-4o", "openai/gpt-4.1-mini")

    def prompt(number, image):
        return Prompt(asked("", image).messages, place=f"p.jsonl:{number}", output_tokens=5)

    found = estimate(own, [prompt(1, part()), prompt(2, part(2048, 1024))])
    assert found.unknown == []
    assert found.control.input_mean > 765
    assert found.assumed[-2:] == (
        "images to openai/gpt-4o are as many tokens as OpenAI's published rule says",
        "images to openai/gpt-4.1-mini are as many tokens as OpenAI's published rule says",
    )
    away = part(url="https://example.com/a.png")
    found = estimate(own, [prompt(1, part()), prompt(2, away), prompt(3, away)])
    words = "2 prompts could not be counted: an image by its address is not fetched, so that its size is not known"
    assert found.unknown[0] == f"openai/gpt-4o: {words} (p.jsonl:2)"
    with pytest.raises(RefusedError, match="nothing can be projected"):
        found.projection()
    found = estimate(own, [prompt(2, away)])
    assert "not fetched" in found.unknown[0]
    assert found.control.input_mean is None
