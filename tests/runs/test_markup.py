"""Names that are markup, read back by a Markdown renderer: they show themselves only."""

from __future__ import annotations

import random
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from mixnet_core.evaluate.report.markdown import table
from mixnet_core.runs.markup import (
    code_block,
    in_markdown,
    literal,
    sentence_in_markdown,
    visible,
    with_code,
)

NAMES = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "![x](http://example.invalid/x.png)",
    "[x](javascript:alert(1))",
    "[x]: http://example.invalid",
    "[^1]",
    "<http://example.invalid>",
    "<!-- hidden -->",
    "a|b",
    r"a\|b",
    "\\",
    "ends in \\",
    "`code`",
    "``",
    "*strong*",
    "**very**",
    "_soft_",
    "__init__",
    "step_1_of_2",
    "a_ _b",
    "~~gone~~",
    "# heading",
    "- item",
    "+ item",
    "* item",
    "> quotation",
    "1. first",
    "1) first",
    "---",
    "===",
    "| --- |",
    "    indented",
    "&lt;b&gt; &amp; &#60;",
    "~~~",
    "```",
    "$x$",
    "שלום",
    "قطة 3",
    "日本_語_",
    "crème brûlée",
    'O\'Brien "the cat"',
    "x" * 5000,
    "97.42",
    "-5",
    "",
]
MARKS = "`*_[]()<>!|~#+-=&\\\"'.:;/@$^{}1a \u00e9\u05d0"


class Shown(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cells:
            self.cells[-1] += data.replace("\n", "")


def shown(markdown: str) -> Shown:
    # Raw HTML in it would be HTML.
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Shown(renderer.render(markdown))


def mixed(seed: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(MARKS) for _ in range(chance.randint(1, 12)))


def plain(name: str) -> str:
    return " ".join(name.split())


@pytest.mark.parametrize("names", [NAMES, [mixed(seed) for seed in range(1500)]])
def test_a_table_of_such_names_stays_a_table_of_their_texts(names: list[str]) -> None:
    found = shown(table(["class", "images"], [[name, f"{i}"] for i, name in enumerate(names)]))
    assert set(found.tags) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert found.cells[:2] == ["class", "images"]
    assert found.cells[2::2] == [plain(name) for name in names]
    assert found.cells[3::2] == [f"{i}" for i in range(len(names))]


@pytest.mark.parametrize("names", [NAMES, [mixed(seed) for seed in range(1500)]])
@pytest.mark.parametrize(
    ("around", "tags"),
    [
        ("{}", ["p"]),
        ("- ✗ {}", ["ul", "li"]),
        ("- {}", ["ul", "li"]),
        ("# {} end", ["h1"]),
        ("top-1 of class {} is 3 %", ["p"]),
        ("a **word**\n{}", ["p", "strong"]),
    ],
)
def test_a_name_in_a_sentence_is_text(names: list[str], around: str, tags: list[str]) -> None:
    for name in filter(plain, names):
        found = shown(around.format(in_markdown(name)))
        assert found.tags == tags, name
        assert plain(name) in plain(found.text), name


@pytest.mark.parametrize("names", [NAMES, [mixed(seed) for seed in range(1500)]])
def test_lines_of_a_log_are_shown_as_they_are(names: list[str]) -> None:
    lines = [line for name in names for line in (name, f"````{name}", f"    {name}")]
    found = shown(code_block(lines))
    assert found.tags == ["pre", "code"]
    # The last is the renderer's, behind the block.
    assert found.text == "\n".join(map(visible, lines)) + "\n\n"


def test_addresses_are_no_links_where_bare_ones_would_be() -> None:
    for text in ("see https://example.invalid/x", "FTP://example.invalid", "www.example.invalid"):
        written = in_markdown(text)
        assert "://" not in written
        assert "www." not in written
        assert shown(written).text.strip() == text
    assert "@" not in in_markdown("somebody@example.invalid")


def test_names_without_markup_are_read_as_they_are_in_a_terminal_too() -> None:
    for name in ("golden retriever", "step_1", "n01440764", "ranks 2 -> 3", "a (b), c: d!", "Ü-1"):
        assert in_markdown(name) == name


def test_what_a_terminal_or_a_browser_would_obey_is_spelled_out() -> None:
    assert visible("a\x1b[31mred\x00") == "a\\x1b[31mred\\x00"
    assert visible("cat\u202egnp.exe") == "cat\\u202egnp.exe"
    assert visible("latin\udce9") == "latin\\udce9"
    assert visible("two\nlines\tand\u2028more") == "two lines and more"
    for kept in ("שלום", "क्‍ष", "é", "é", "👩‍🔬"):
        assert visible(kept) == kept


def test_code_in_a_sentence_is_code_and_a_users_backticks_are_backticks() -> None:
    assert list(with_code("sha256 `0a1b` of it")) == [
        ("sha256 ", False),
        ("0a1b", True),
        (" of it", False),
    ]
    for name in ("`x`", "``", "a`b", "```", "` `", "\\`"):
        parts = list(with_code(f"{literal(name)}, sha256 `0a1b`"))
        assert parts == [(f"{name}, sha256 ", False), ("0a1b", True)]
        found = shown(sentence_in_markdown(f"{literal(name)}, sha256 `0a1b`"))
        assert found.tags == ["p", "code"]
        assert found.text.strip() == f"{name}, sha256 0a1b"
    assert list(with_code("an odd ` one")) == [("an odd ` one", False)]
    assert sentence_in_markdown("`a|b` is code") == "`a\\|b` is code"
