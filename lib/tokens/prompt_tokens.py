"""Tokens of a prompt: a guess (`estimate`) and an upper bound (`bound`), by the family of models that reads it.

Every family frames messages in its own way, tells the model about its tools in its own words and cuts images into
pieces of its own. What is published stands beside its figure; the rest is measured on recorded exchanges with the
providers (2024–2026), the bound set above the highest seen. What has no bound of its own, a file named by an address or
an id, is bounded by what its provider takes, and by the model's context window where that is known.
"""

import math
from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct, structs

from lib.patterns import compile_pattern
from lib.providers.kinds import ProviderKind
from lib.tokens.prompt_size import Image, PromptSize, scale_down

DEFAULT_WINDOW = 200_000  # tokens, of a model whose window nobody states
_PAGE_BYTES = 50_000  # of a PDF: a usual page, and one of words alone, well packed
_LEAST_PAGE_BYTES = 2_000
_MOST_PAGES = 1_000  # as Gemini and OpenAI take; Anthropic 100 to 600
Image_ = Callable[[Image, str, bool], int]


class Family(Struct, frozen=True):
    """Figures in tokens, as (guess, most); `words` and `schemas` in percent of the text's own.

    `base` is of every prompt, `message` of each message, `tools` once when there are any, `tool` of each the program
    defines, `native_tool` of each the provider knows, `call` of each tool's call and result, `form` of an answer's
    schema, `page` of a PDF's page.
    """

    words: tuple[int, int] = (100, 125)
    schemas: tuple[int, int] = (100, 125)
    refers: int = 0  # percent for a guess of schemas with `$ref`, where that is another
    base: tuple[int, int] = (6, 120)
    message: tuple[int, int] = (4, 16)
    tools: tuple[int, int] = (60, 700)
    tool: tuple[int, int] = (10, 80)
    native_tool: tuple[int, int] = (500, 2_500)
    call: tuple[int, int] = (8, 40)
    form: tuple[int, int] = (20, 500)
    thinking: tuple[int, int] = (0, 60)
    page: tuple[int, int] = (1_200, 5_000)
    sound: tuple[int, int] = (800, 20)  # bytes that make a token
    image: Image_ = lambda image, model, is_most: 6_200 if is_most else 1_000


def estimate_prompt(size: PromptSize, kind: str, model: str) -> int:
    """The tokens of a prompt, guessed: within a quarter on most recorded requests, and seldom below three quarters."""
    return _estimate_tokens(size, find_family(kind, model), model, is_most=False)


def bound_prompt(size: PromptSize, kind: str, model: str, window: int | None = None) -> int:
    """The most tokens a prompt can have; `window` is the model's context window, which bounds files of unknown size."""
    return _estimate_tokens(size, find_family(kind, model), model, is_most=True, window=window or DEFAULT_WINDOW)


def estimate_image_tokens(image: Image, kind: str, model: str) -> int:
    """The tokens of one image, guessed."""
    return find_family(kind, model).image(image, model, False)


def _estimate_tokens(
    size: PromptSize, family: Family, model: str, *, is_most: bool, window: int = DEFAULT_WINDOW
) -> int:
    at = int(is_most)
    words, schemas = (size.words_most, size.schemas_most) if is_most else (size.words, size.schemas)
    tokens = -(-words * family.words[at] // 100) + size.ids + size.messages * family.message[at]
    if size.messages:
        tokens += family.base[at]
    if schemas:
        percent = family.refers if family.refers and size.refers and not is_most else family.schemas[at]
        tokens += -(-schemas * percent // 100)
    if size.tools or size.native_tools:
        tokens += family.tools[at] + size.tools * family.tool[at] + size.native_tools * family.native_tool[at]
    tokens += size.calls * family.call[at] + size.has_form * family.form[at] + size.thinks * family.thinking[at]
    for image in size.images:
        tokens += family.image(image, model, is_most)
    return tokens + (_estimate_file_tokens(size, family, window, is_most=is_most) if _has_files(size) else 0)


def _has_files(size: PromptSize) -> bool:
    return bool(size.hidden or size.sounds or size.files or size.unseen)


def _estimate_file_tokens(size: PromptSize, family: Family, window: int, *, is_most: bool) -> int:
    """Thoughts that come back in base64 (most are dropped before the model reads them), files, sounds.

    All together not more than the window.
    """
    if is_most and size.unseen:
        return window
    pages = -(-size.file_bytes // (_LEAST_PAGE_BYTES if is_most else _PAGE_BYTES))
    pages = min(max(pages, size.files), _MOST_PAGES)
    tokens = pages * family.page[is_most] + size.sounds // family.sound[is_most]
    tokens += size.hidden // (2 if is_most else 24) + size.unseen * family.page[0]
    return min(tokens, window)


def _estimate_openai_image(image: Image, model: str, is_most: bool) -> int:
    """https://platform.openai.com/docs/guides/images-vision, "Calculating costs", as of November 2026.

    Patches of 32 pixels, at most 1,536 (2,500 from GPT-5.4 on, 10,000 in original detail), times a factor of the small
    models; older ones 85 tokens and 170 for each tile of 512 pixels, GPT-4o mini 33 times that.
    """
    is_tiled = _TILED.search(model) is not None
    if "4o-mini" in model:
        base = 2_833
        tile = 5_667
    else:
        base = 85
        tile = 170
    if image.detail == "low" and is_tiled:
        return base
    if is_tiled:
        if not image.width:
            return base + (8 if is_most else 4) * tile  # 768 × 2,000 pixels
        width, height = scale_down(Image(*scale_down(image, 2_048)), 2_048, 768)
        return base + -(-width // 512) * -(-height // 512) * tile
    most = 10_000 if image.detail == "original" else 2_500 if is_most else 1_536
    patches = -(-image.width // 32) * -(-image.height // 32) if image.width else most if is_most else 1_000
    factor = 2.46 if "nano" in model else 1.72 if "mini" in model else 1.2
    return math.ceil(min(patches, most) * (2.46 if is_most else factor))


def _estimate_anthropic_image(image: Image, model: str, is_most: bool) -> int:
    """https://docs.claude.com/en/docs/build-with-claude/vision: width × height / 750, scaled to 1,568 pixels and about
    1,600 tokens; from Opus 4.7 on to 2,576 pixels and 4,784 tokens."""
    is_older = _OLDER_CLAUDE.search(model) is not None
    most = 1_640 if is_older else 4_800
    if not image.width:
        return most if is_most else 1_500
    width, height = scale_down(image, 1_568 if is_older else 2_576)
    return min(-(-width * height // 750) + 5, most) if not is_most else min(width * height // 600 + 60, most)


def _estimate_gemini_image(image: Image, model: str, is_most: bool) -> int:
    """https://ai.google.dev/gemini-api/docs/tokens: 258 up to 384 pixels, else 258 for each tile of 768; Gemini 3 takes
    1,120 (https://ai.google.dev/gemini-api/docs/media-resolution), in ultra high resolution 2,240."""
    if "gemini-3" in model or not image.width:
        return 2_600 if is_most else 1_120
    if max(image.width, image.height) <= 384:
        return 258
    unit = min(max(math.floor(min(image.width, image.height) / 1.5), 256), 768)
    tiles = -(-image.width // unit) * -(-image.height // unit)
    return 258 * max(tiles, 10) if is_most else 258 * min(tiles, 4)


_TILED = compile_pattern(r"gpt-4o|gpt-4-|gpt-4\.1$|gpt-4\.1-20|gpt-4\.5|gpt-5(?:-20|-chat|$)|^o1|^o3|chatgpt")
_OLDER_CLAUDE = compile_pattern(r"claude-(?:3|2)|(?:opus|sonnet|haiku)-4(?:$|[-.](?:[0-6](?!\d)|2025))")

_OPENAI = Family(
    words=(95, 105),
    schemas=(42, 100),  # shown as types of TypeScript, not as JSON
    base=(
        3,
        40,
    ),  # 3 for the answer's beginning: the cookbook's num_tokens_from_messages; o-series and GPT-5 a bit more
    message=(4, 8),
    tools=(8, 120),
    tool=(4, 24),
    native_tool=(80, 1_500),
    call=(5, 40),
    form=(40, 200),
    page=(1_000, 6_000),
    image=_estimate_openai_image,
)
_GPT_5 = structs.replace(_OPENAI, base=(2, 40), tools=(80, 250))
_EMBEDS = structs.replace(_OPENAI, words=(85, 105))
_COMPLETION = structs.replace(_OPENAI, base=(0, 40), message=(0, 8))  # a text that is gone on with has no frame
_ANTHROPIC = Family(
    words=(103, 135),  # the vocabulary of Opus 4.7 makes up to 1.35 times as many tokens, by its announcement
    schemas=(95, 135),
    base=(7, 60),
    message=(3, 10),
    tools=(420, 1_200),  # https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview: 264–804; 466 measured
    tool=(30, 100),
    native_tool=(700, 2_500),  # text editor 700, computer use 735 and 499 more: the same page; tool search 650 measured
    form=(80, 600),  # 168 measured with a schema of 40
    thinking=(28, 60),
    page=(2_300, 4_800),  # "1,500–3,000 tokens per page", and an image of it: the page on PDF support
    image=_estimate_anthropic_image,
)
_GEMINI = Family(
    words=(100, 115),
    schemas=(50, 160),
    refers=200,
    base=(0, 40),
    message=(1, 8),
    tools=(0, 300),
    tool=(5, 40),
    call=(4, 40),
    native_tool=(1_000, 5_000),
    page=(560, 1_200),  # 258 a page, in Gemini 3 560 to 1,120
    sound=(1_000, 10),  # 32 tokens a second of sound, 258 a frame
    image=_estimate_gemini_image,
)
_GEMINI_2 = structs.replace(_GEMINI, words=(80, 115), schemas=(22, 160), tool=(2, 40), call=(0, 40))
_GEMINI_3 = structs.replace(_GEMINI, call=(30, 80))  # thoughts come back with their calls
_HARMONY = Family(
    words=(84, 105), schemas=(50, 110), base=(62, 120), message=(4, 12), tools=(15, 200), call=(4, 40)
)  # https://github.com/openai/harmony: a system message of some 60 tokens
_DEEPSEEK = Family(words=(100, 110), schemas=(115, 140), base=(3, 120), tools=(110, 500))
_DEEPSEEK_4 = Family(
    words=(100, 110), schemas=(130, 140), base=(78, 200), message=(6, 40), tools=(170, 600), call=(8, 60)
)
_LLAMA_4 = Family(tools=(560, 1_000))
_MISTRAL = Family(words=(100, 120), schemas=(85, 125), base=(2, 60), message=(3, 16), tools=(0, 200))
_MISTRAL_SMALL = structs.replace(_MISTRAL, base=(8, 60), message=(4, 16))
_MISTRAL_EMBED = structs.replace(_MISTRAL, words=(130, 160))
_MINIMAX = Family(base=(34, 120))  # its own system message
_GENERIC = Family()

_BY_NAME = (
    ("gpt-oss", _HARMONY),
    ("llama-4", _LLAMA_4),
    ("claude", _ANTHROPIC),
    ("gemini-3", _GEMINI_3),
    ("gemini-2.0", _GEMINI_2),
    ("gemini-1", _GEMINI_2),
    ("gemini", _GEMINI),
    ("minimax", _MINIMAX),
    ("mistral-embed", _MISTRAL_EMBED),
    ("mistral-small", _MISTRAL_SMALL),
    ("deepseek-v4", _DEEPSEEK_4),
    ("deepseek", _DEEPSEEK),
    ("stral", _MISTRAL),
    ("text-embedding", _EMBEDS),
    ("gpt-3.5-turbo-instruct", _COMPLETION),
    ("davinci", _COMPLETION),
    ("babbage", _COMPLETION),
    ("gpt-5-", _GPT_5),
    ("gpt-", _OPENAI),
    ("openai/", _OPENAI),
)
_BY_KIND: dict[str, Family] = {
    ProviderKind.OPENAI: _OPENAI,
    ProviderKind.ANTHROPIC: _ANTHROPIC,
    ProviderKind.GEMINI: _GEMINI,
    ProviderKind.DEEPSEEK: _DEEPSEEK,
    ProviderKind.MISTRAL: _MISTRAL,
}


@lru_cache(maxsize=4_096)
def find_family(kind: str, model: str) -> Family:
    """How a model reads its prompt: by its name where that tells, else by its provider's kind."""
    lowered = model.lower()
    by_name = next((family for part, family in _BY_NAME if part in lowered), None)
    return by_name or _BY_KIND.get(kind, _GENERIC)
