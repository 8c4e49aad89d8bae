"""Names and words of users as themselves, wherever text is marked up: no tag, link or emphasis.

Sentences and facts of a report may hold `code` in backticks, in Markdown and on a page alike; what
comes from a user passes `literal` on its way into one. Everything else in them is text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# A doubled backtick is a backtick.
_CODE = re.compile(r"``|`([^`]+)`")
# What a terminal or a browser obeys instead of showing it: controls, halves of characters, and what
# turns the direction of all that follows on the line. Letters that run from the right stay.
_OBEYED = ("Cc", "Cs")
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# The characters that begin markup anywhere. Entities where some renderers know no backslash.
_MARKUP = {
    **{mark: f"\\{mark}" for mark in "\\`*[]|~"},
    **{mark: f"&#{ord(mark)};" for mark in "@$"},
    "<": "&lt;",
    "&": "&amp;",
}
# At the beginning of a line: headings, lists, quotations, rules.
_BEGINNING = re.compile(r"(?P<number>\d{1,9})(?P<end>[.)])(?=\s|$)|(?P<mark>[#+>=-])")
# Code hosts and Prefect's dashboard make links of bare addresses.
_ADDRESS = re.compile(r"(https?|ftp):(?=//)|(www)\.", re.IGNORECASE)


def visible(text: str) -> str:
    """Returns the text with what would be obeyed instead of shown spelled out, as `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(character) for character in text)


def in_markdown(text: str) -> str:
    """Returns Markdown, on one line, that shows the text and nothing else, in a table as well."""
    words = " ".join(visible(text).split())
    marked = "".join(_escaped(words, place) for place in range(len(words)))
    marked = _ADDRESS.sub(_without_link, marked)
    beginning = _BEGINNING.match(marked)
    if beginning is None:
        return marked
    rest = marked[beginning.end() :]
    if beginning["mark"]:
        return f"\\{beginning['mark']}{rest}"
    return f"{beginning['number']}\\{beginning['end']}{rest}"


def literal(text: str) -> str:
    """Returns the text for a sentence in which backticks mean code: its own do not."""
    return text.replace("`", "``")


def with_code(text: str) -> Iterator[tuple[str, bool]]:
    """Yields the parts of a sentence, and of each whether it is code."""
    place = 0
    plain = ""
    for found in _CODE.finditer(text):
        plain += text[place : found.start()]
        place = found.end()
        if found[1] is None:
            plain += "`"
            continue
        if plain:
            yield plain, False
        plain = ""
        yield found[1], True
    if plain + text[place:]:
        yield plain + text[place:], False


def sentence_in_markdown(text: str) -> str:
    """Returns Markdown, on one line, of a sentence that may hold code."""
    parts = []
    for part, is_code in with_code(text):
        if is_code:
            words = " ".join(visible(part).split()).replace("|", "\\|")
            parts.append(f"`{words}`")
        else:
            # Spaces around code are the sentence's own.
            ends = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
            before, after = (" " if end else "" for end in ends)
            parts.append(f"{before}{in_markdown(part)}{after}")
    return "".join(parts).strip()


def code_block(lines: Sequence[str]) -> str:
    """Returns Markdown of lines as they are: a fence of backticks longer than any among them."""
    text = "\n".join(visible(line) for line in lines)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _spelled(character: str) -> str:
    if character.isspace():
        return " "
    if character in _TURNS or unicodedata.category(character) in _OBEYED:
        number = ord(character)
        return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
    return character


def _escaped(text: str, place: int) -> str:
    character = text[place]
    if character != "_":
        return _MARKUP.get(character, character)
    # Between letters and digits it is never emphasis, and names are full of them.
    inside = text[place - 1 : place].isalnum() and text[place + 1 : place + 2].isalnum()
    return "_" if inside else "\\_"


def _without_link(found: re.Match[str]) -> str:
    return f"{found[1]}&#58;" if found[1] else f"{found[2]}&#46;"
