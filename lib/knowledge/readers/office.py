"""What Word, PowerPoint and Excel files have in common (ECMA-376): parts and their relations, runs of text, formulas,
charts and diagrams. Elements are known by their local names, so the strict form of the format reads the same.
"""

import io
import posixpath
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from lxml import etree

from lib.knowledge.readers.limits import Refused

Element = Any
_SIGNS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_SILENT = frozenset(
    {
        "del", "moveFrom", "delText", "delInstrText", "instrText", "fldData", "rPr", "pPr", "sectPr", "tblPr",
        "tblGrid", "trPr", "tcPr", "sdtPr", "sdtEndPr", "rt", "bodyPr", "lstStyle", "endParaRPr", "ctrlPr"
    }
)  # fmt: skip
_APART = frozenset(
    {
        "txbxContent", "txBody", "p", "tbl", "footnoteReference", "endnoteReference", "commentReference", "chart",
        "relIds"
    }
)  # fmt: skip


class Package:
    """The parts of an Office file."""

    def __init__(self, data: bytes) -> None:
        self._parts = zipfile.ZipFile(io.BytesIO(data))
        self.names = frozenset(self._parts.namelist())

    def root(self, name: str) -> Element | None:
        """A part's element; None where there is no such part. Refused when it is damaged."""
        if name not in self.names:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
        try:
            return etree.fromstring(self._parts.read(name), parser)
        except (etree.XMLSyntaxError, zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
            raise Refused("It is damaged or was cut off.") from error

    def text(self, name: str) -> str:
        """A part as it is written, for who counts in it."""
        data = self._parts.read(name)
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """The parts that a part points to: id → (kind, part's name). The kind is the last word of the type."""
        folder, _, file = name.rpartition("/")
        root = self.root(posixpath.join(folder, "_rels", f"{file}.rels"))
        relations: dict[str, tuple[str, str]] = {}
        for relation in () if root is None else root:
            if not isinstance(relation.tag, str) or relation.get("TargetMode") == "External":
                continue
            target = relation.get("Target", "").removeprefix("file:///")
            path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            relations[relation.get("Id", "")] = (relation.get("Type", "").rpartition("/")[2], path)
        return relations

    def of_kind(self, name: str, *kinds: str) -> list[str]:
        """The names of the parts that a part points to as one of these kinds, in their order."""
        return [path for kind, path in self.related(name).values() if kind in kinds and path in self.names]

    @cached_property
    def main(self) -> str:
        """The name of the part that the document begins with."""
        main_parts = self.of_kind("", "officeDocument")
        if not main_parts:
            raise Refused("It is damaged or was cut off.")
        return main_parts[0]


def read_local_name(node: Element) -> str:
    """The name of an element without its namespace; empty for comments and instructions."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def read_attribute(node: Element, name: str) -> str:
    """An attribute by its local name; empty without."""
    return next((str(value) for key, value in node.attrib.items() if key.rpartition("}")[2] == name), "")


def find_child(node: Element, *path: str) -> Element | None:
    """The first descendant along a path of local names."""
    for name in path:
        node = next((element for element in node if read_local_name(element) == name), None)
        if node is None:
            return None
    return node


def iterate_within(node: Element, *names: str) -> Iterator[Element]:
    """Descendants with one of these local names, in order."""
    return (element for element in node.iter() if read_local_name(element) in names)


def choose_branch(node: Element) -> Element:
    """The branch of an AlternateContent that is shown: the first with words, of which the others are copies."""
    branches = [branch for branch in node if read_local_name(branch) in ("Choice", "Fallback")]
    with_words = (
        branch for branch in branches if any(True for _ in iterate_within(branch, "t", "chart", "relIds", "textpath"))
    )
    return next(with_words, branches[0] if branches else node)


def yield_inline_text(node: Element, apart: list[Element]) -> Iterator[str]:
    """The text of a paragraph, through all that wraps it; boxes, notes and charts that stand in it go to `apart`."""
    for element in node:
        name = read_local_name(element)
        if not name or name in _SILENT:
            continue
        if name == "t":
            yield element.text or ""
        elif name in _SIGNS:
            yield _SIGNS[name]
        elif name in _APART:
            apart.append(element)
        elif name == "AlternateContent":
            yield from yield_inline_text(choose_branch(element), apart)
        elif "/math" in element.tag and name in _FORMULAS:
            yield from _yield_formula(element, apart)
        elif name in _SPECIAL:
            yield _SPECIAL[name](element)
        else:
            yield from yield_inline_text(element, apart)


def _read_symbol(node: Element) -> str:
    try:
        sign = chr(int(read_attribute(node, "char") or "20", 16))
    except (ValueError, OverflowError):
        return ""
    return sign if sign.isprintable() else ""


def _read_word_art(node: Element) -> str:
    """The words of a WordArt drawing."""
    return read_attribute(node, "string")


def _read_list_choice(node: Element) -> str:
    """The chosen entry of a form's drop-down list; empty without one."""
    entries = [read_attribute(list_entry, "val") for list_entry in iterate_within(node, "listEntry")]
    result = find_child(node, "result")
    number = read_attribute(result, "val") if result is not None else "0"
    return entries[int(number)] if number.isdecimal() and int(number) < len(entries) else ""


_SPECIAL: dict[str, Callable[[Element], str]] = {
    "sym": _read_symbol,
    "ddList": _read_list_choice,
    "textpath": _read_word_art,
}
_FORMULAS = frozenset(
    {"f", "sSup", "sSub", "sSubSup", "rad", "d", "mr"}
)  # fmt: skip


def _yield_formula(node: Element, apart: list[Element]) -> Iterator[str]:
    """A part of a formula in a line: `(a+b)/c`, `x^2`, `√(y)`."""
    parts = {read_local_name(part): "".join(yield_inline_text(part, apart)) for part in node}
    name = read_local_name(node)
    if name == "f":
        yield f"{_add_brackets(parts.get('num', ''))}/{_add_brackets(parts.get('den', ''))}"
    elif name == "rad":
        yield f"{parts.get('deg', '')}√({parts.get('e', '')})"
    elif name == "mr":
        yield ", ".join("".join(yield_inline_text(part, apart)) for part in node) + "; "
    elif name == "d":
        delimiters = find_child(node, "dPr")
        begin, end = (find_child(delimiters, sign) if delimiters is not None else None for sign in ("begChr", "endChr"))
        inner = "|".join("".join(yield_inline_text(part, apart)) for part in node if read_local_name(part) == "e")
        yield ("(" if begin is None else read_attribute(begin, "val")) + inner
        yield ")" if end is None else read_attribute(end, "val")
    else:
        low = parts.get("sub", "")
        high = parts.get("sup", "")
        yield (
            parts.get("e", "") + (f"_{_add_brackets(low)}" if low else "") + (f"^{_add_brackets(high)}" if high else "")
        )


def _add_brackets(text: str) -> str:
    return text if len(text) <= 1 or text.isalnum() else f"({text})"


def list_paragraphs(node: Element) -> list[str]:
    """The paragraphs in an element, those of boxes in boxes too."""
    lines: list[str] = []
    for element in [node] if read_local_name(node) == "p" else iterate_shown(node):
        if read_local_name(element) != "p":
            lines += list_paragraphs(element)
            continue
        apart: list[Element] = []
        text = "".join(yield_inline_text(element, apart)).strip()
        lines += [text] if text else []
        for box in apart:
            lines += list_paragraphs(box)
    return lines


def iterate_shown(node: Element) -> Iterator[Element]:
    """The children of an element that are read; of alternatives the one that is shown."""
    for element in node:
        name = read_local_name(element)
        if name == "AlternateContent":
            yield from iterate_shown(choose_branch(element))
        elif name and name not in _SILENT:
            yield element


def list_chart_lines(root: Element | None) -> list[str]:
    """A chart's words: its titles, then a line for each series with its categories and values."""
    if root is None:
        return []
    lines = [" ".join(text.split()) for text in list_paragraphs(root)]
    for series in iterate_within(root, "ser"):
        name, labels, values = (_read_points(find_child(series, part)) for part in ("tx", "cat", "val"))
        if not values:
            labels, values = (_read_points(find_child(series, part)) for part in ("xVal", "yVal"))
        pairs = [f"{label} {values[key]}" if key in values else label for key, label in labels.items()]
        pairs += [value for key, value in values.items() if key not in labels]
        heads = " ".join(name.values())
        lines.append(f"{heads}: {', '.join(pairs)}" if heads and pairs else heads or ", ".join(pairs))
    listed = "\n".join(lines)
    point_texts = [point.text.strip() for point in iterate_within(root, "pt") if point.text and point.text.strip()]
    lines += [word for word in dict.fromkeys(point_texts) if word not in listed]
    return [line for line in lines if line]


def _read_points(node: Element | None) -> dict[str, str]:
    """Number of a point (levels of categories apart) → what it says."""
    texts: dict[str, str] = {}
    for point in () if node is None else iterate_within(node, "pt"):
        value = find_child(point, "v")
        if value is not None and value.text and value.text.strip():
            key = read_attribute(point, "idx")
            texts[key] = f"{value.text.strip()} {texts[key]}" if key in texts else value.text.strip()
    if not texts and node is not None and (value := find_child(node, "v")) is not None and value.text:
        texts["0"] = value.text.strip()
    return texts


def find_linked_part(package: Package, part: str, node: Element) -> str:
    """The part with the chart or the diagram (SmartArt) that an element of a part stands for."""
    key = read_attribute(node, "id" if read_local_name(node) == "chart" else "dm")
    return package.related(part).get(key, ("", ""))[1]


def read_drawing_lines(package: Package, part: str) -> list[str]:
    """The words of a chart or a diagram."""
    root = package.root(part)
    if root is None:
        return []
    return list_chart_lines(root) if read_local_name(root) == "chartSpace" else list_paragraphs(root)
