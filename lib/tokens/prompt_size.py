"""What a prompt holds, measured in one pass over a request: words, tools, images, files. Tokens come of it by `tokens`.

A request is read as a program wrote it, whichever protocol it speaks (OpenAI's chat and responses, Anthropic's
messages), or as the messages and parameters inside. Everything a model reads counts: system blocks, tools and their
schemas, calls of tools and their results, thoughts that come back, the answer's form. One door must not count what
another forgets, so there is no second way to measure. Pure and linear: the bytes of files are looked at, not decoded.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from lib.fast_json import encode_text
from lib.tokens.image_size import read_base64_size
from lib.tokens.text_estimate import measure_text

_WORDS = frozenset({"system", "instructions", "messages", "input", "prompt", "suffix"})
_TOOLS = frozenset({"tools", "functions"})
FORMS = frozenset({"response_format", "output_format", "output_config", "text", "format"})
_EARLIER = "previous_response_id"  # a conversation that the provider keeps
_FIELDS = _WORDS | _TOOLS | FORMS | {"thinking", _EARLIER}
_IMAGES = frozenset({"image_url", "input_image", "image"})
_FILES = frozenset({"file", "input_file", "document"})
_SOUNDS = frozenset({"input_audio", "audio", "video", "input_video", "video_url"})
_HIDDEN = frozenset({"signature", "encrypted_content", "data"})  # thoughts that only their provider can read
_SILENT = frozenset(
    {"type", "id", "role", "status", "index", "cache_control", "tool_call_id", "tool_use_id", "call_id", "is_error"}
)
_WALKED = frozenset(
    {"None", "text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text", "message"}
    | {"thinking", "redacted_thinking", "reasoning", "tool_result", "function_call_output", "compaction"}
)
_CALLS = frozenset({"tool_use", "server_tool_use", "function_call", "function", "custom_tool_call"})
_NOTHING = measure_text("")
_DEEPEST = 12  # levels of parts in parts; what is deeper is counted as its JSON


class Image(Struct, frozen=True):
    """An image: pixels where its head tells them, else 0; `detail` as OpenAI's field."""

    width: int = 0
    height: int = 0
    detail: str = ""


class PromptSize(Struct, frozen=True):
    """What a prompt holds. `words` are tokens of all texts (guess, most), `schemas` those of tools and forms.

    `tools` are those that the program defines, `native_tools` kinds that the provider knows, `calls` those of tools and
    their results. `hidden` are characters of encrypted thoughts, `sounds` bytes of audio and video. `file_bytes` belong
    to `files` whose content came along; `unseen` files, stored prompts, items and
    turns are named by an id or an address. `ids` are
    tokens by their numbers, as texts to embed may come.
    """

    words: int = 0
    words_most: int = 0
    schemas: int = 0
    schemas_most: int = 0
    messages: int = 0
    tools: int = 0
    native_tools: int = 0
    calls: int = 0
    images: tuple[Image, ...] = ()
    hidden: int = 0
    sounds: int = 0
    files: int = 0
    file_bytes: int = 0
    unseen: int = 0
    ids: int = 0
    has_form: bool = False
    thinks: bool = False
    refers: bool = False  # schemas hold `$ref`, which some providers write out


def measure_texts(texts: Sequence[str]) -> PromptSize:
    """The size of texts to embed, which no message frames."""
    words = measure_text("\n".join(texts))
    return PromptSize(words.estimate, words.most)


def measure(*bodies: Mapping[str, Any], system: str = "") -> PromptSize:
    """The size of a request's body, in any of the protocols, with a system prompt that goes before it.

    In several pieces a field counts where its name comes first.
    """
    reading = _Reading()
    if system:
        reading.texts.append(system)
        reading.messages += 1
    counted_fields = set[str]()
    for body in bodies:
        for name, value in body.items():
            if name not in _FIELDS or not value or name in counted_fields:
                continue
            counted_fields.add(name)
            if name in _WORDS:
                reading.read_words(name, value)
            elif name in _TOOLS:
                reading.read_tools(value)
            elif name in FORMS:
                reading.read_form(value)
            elif name == _EARLIER:
                reading.unseen += 1
            else:
                reading.thinks = True
    return reading.size()


class _Reading:
    """A walk through a request; the texts it meets are measured together at its end."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.schemas: list[str] = []
        self.images: list[Image] = []
        self.messages = self.tools = self.native_tools = self.calls = 0
        self.hidden = self.sounds = self.files = self.file_bytes = self.unseen = self.ids = 0
        self.has_form = self.thinks = False

    def size(self) -> PromptSize:
        words = measure_text("\n".join(self.texts))
        schemas = measure_text("\n".join(self.schemas)) if self.schemas else _NOTHING
        return PromptSize(
            words.estimate,
            words.most,
            schemas.estimate,
            schemas.most,
            self.messages,
            self.tools,
            self.native_tools,
            self.calls,
            tuple(self.images),
            self.hidden,
            self.sounds,
            self.files,
            self.file_bytes,
            self.unseen,
            self.ids,
            self.has_form,
            self.thinks,
            any('"$ref"' in text for text in self.schemas),
        )

    def read_words(self, name: str, value: Any) -> None:
        """A field of texts: a text, a list of messages or blocks, a stored prompt."""
        if isinstance(value, str):
            self.texts.append(value)
            self.messages += 1
        elif isinstance(value, list):
            for item in value:
                if type(item) is dict and type(content := item.get("content")) is str and len(item) == 2:
                    self.texts.append(content)  # nearly all messages
                    self.messages += 1
                else:
                    self.messages += name != "system"
                    self._part(item, 0)
            self.messages += name == "system"
        elif name == "prompt":  # kept by the provider, named by an id
            self.unseen += 1
            self.texts.append(encode_text(value))

    def read_tools(self, value: Any) -> None:
        """The list of tools: their schemas are read as JSON."""
        self.schemas.append(encode_text(value))
        for tool in value if isinstance(value, list) else ():
            kind = tool.get("type") if isinstance(tool, Mapping) else None
            if kind in (None, "function", "custom"):
                self.tools += 1
            elif kind == "namespace" and isinstance(inner := tool.get("tools"), list):
                self.tools += len(inner)
            else:
                self.native_tools += 1

    def read_form(self, value: Any) -> None:
        """The form of the answer, whose schema the model reads."""
        text = encode_text(value)
        self.schemas.append(text)
        self.has_form = self.has_form or "schema" in text

    def _part(self, value: Any, depth: int) -> None:
        """A message, a block of one, or what is in it."""
        if isinstance(value, str):
            self.texts.append(value)
        elif isinstance(value, list | tuple):
            for item in value:
                self._part(item, depth + 1)
        elif isinstance(value, int):
            self.ids += 1
        elif isinstance(value, Mapping):
            self._object(value, depth)

    def _object(self, value: Mapping[str, Any], depth: int) -> None:
        kind = str(value.get("type"))
        if kind == "item_reference" or value.keys() == {"id"}:  # of what the provider keeps
            self.unseen += 1
        elif kind in _IMAGES:
            self._image(value)
        elif kind in _FILES:
            self._file(value, depth)
        elif kind in _SOUNDS:
            self._sound(value)
        elif (kind in _WALKED or "role" in value) and depth < _DEEPEST:
            self._fields(value, kind, depth)
        elif kind in _CALLS:
            self._call(value)
        else:  # nobody here knows
            self.calls += 1
            self.texts.append(encode_text(value))

    def _fields(self, value: Mapping[str, Any], kind: str, depth: int) -> None:
        self.calls += kind in ("tool_result", "function_call_output") or value.get("role") == "tool"
        for name, inner in value.items():
            if name in _SILENT or inner is None:
                continue
            if name in _HIDDEN and isinstance(inner, str):
                self.hidden += len(inner)
            elif name in ("tool_calls", "function_call"):
                for call in inner if isinstance(inner, list) else [inner]:
                    self._call(call)
            else:
                self._part(inner, depth + 1)

    def _call(self, call: Any) -> None:
        """A tool's call: its name and arguments; its id only its provider reads."""
        self.calls += 1
        function = call.get("function") if isinstance(call, Mapping) else None
        fields = function if isinstance(function, Mapping) else call
        if not isinstance(fields, Mapping):
            self.texts.append(encode_text(fields))
            return
        for name in ("name", "arguments", "input"):
            if inner := fields.get(name):
                self.texts.append(inner if isinstance(inner, str) else encode_text(inner))

    def _image(self, part: Mapping[str, Any]) -> None:
        source = part.get("image_url") or part.get("source") or part.get("file_id") or part.get("image")
        detail = str(part.get("detail") or "")
        if isinstance(source, Mapping):
            detail = str(source.get("detail") or detail)
            source = source.get("url") or source.get("data") or ""
        width, height = _read_pixels(source)
        self.images.append(Image(width, height, detail))

    def _file(self, part: Mapping[str, Any], depth: int) -> None:
        source = part.get("file") or part.get("source") or part
        if not isinstance(source, Mapping):
            self.unseen += 1
            return
        kind = source.get("type")
        data = source.get("file_data") or source.get("data")
        self.texts += [text for name in ("title", "context", "filename") if isinstance(text := part.get(name), str)]
        if kind == "text" and isinstance(data, str):
            self.texts.append(data)
        elif kind == "content":
            self._part(source.get("content"), depth + 1)
        elif isinstance(data, str):
            self.files += 1
            self.file_bytes += len(data) * 3 // 4
        else:
            self.unseen += 1

    def _sound(self, part: Mapping[str, Any]) -> None:
        size = len(encode_text(part))
        self.sounds += size * 3 // 4
        self.unseen += size < 4_096  # named by an address


def _read_pixels(source: Any) -> tuple[int, int]:
    if not isinstance(source, str) or source.startswith(("http", "file-")):
        return 0, 0
    return read_base64_size(source) or (0, 0)


def scale_down(image: Image, longest: int, shortest: int = 0) -> tuple[int, int]:
    """Width and height once the longer side fits `longest` and, if stated, the shorter one `shortest`."""
    factor = min(1.0, longest / max(image.width, image.height))
    if shortest:
        factor = min(factor, shortest / min(image.width, image.height))
    return math.ceil(image.width * factor), math.ceil(image.height * factor)
