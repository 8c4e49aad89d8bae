"""Cards are read as people write them; the sample is the hub's, its sentences are our own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixnet_core.errors import InputError
from mixnet_core.release.card import Asset, Card, Part, Performance, Requirement
from mixnet_core.release.card_file import figures, parse_card, read_card
from mixnet_core.release.card_text import card_text, scalar

HUB_CARD = Path(__file__).parent / "data" / "hub_card.md"


def parsed(text: str) -> Card:
    return parse_card(text.encode(), "card.md")


def changed(old: str, new: str) -> str:
    text = HUB_CARD.read_text()
    assert old in text
    return text.replace(old, new)


def test_a_card_of_the_hub_says_what_stands_in_it() -> None:
    card = read_card(HUB_CARD)
    assert (card.model_name, card.backbone_name, card.module_type) == ("mixnet_s", "mixnet", "cv")
    assert (card.model_version, card.mindspore_version) == ("2.5", "2.5")
    assert card.fine_tunable is True
    assert (card.top1, card.top5) == (75.58, 95.54)
    assert card.repo_link == "https://github.com/mindspore-lab/mindcv/tree/v0.5.0/configs/mixnet"
    (asset,) = card.assets
    assert (asset.file_format, asset.sha256) == ("ckpt", "fe4fcc63")
    assert asset.link.startswith("https://download-mindspore.osinfra.cn/")
    assert card.requirements == (
        Requirement(
            mindspore="2.5.0", ascend_driver="24.1.0", firmware="7.5.0.3.220", cann="8.0.0.beta1"
        ),
    )
    (row,) = card.performance
    assert row.model_dump(exclude={"recipe", "weight"}) == {
        "model_name": "mixnet_s",
        "params": 4.17,
        "cards": 8,
        "batch_size": 128,
        "resolution": "224x224",
        "jit_level": "O2",
        "graph_compile": 706.0,
        "step": 228.03,
        "speed": 4490.64,
        "top1": 75.58,
        "top5": 95.54,
    }
    # As the hub's own figures have it: images of a step on all cards, by its time.
    assert row.speed == pytest.approx(8 * 128 / 0.22803, abs=0.01)


def test_a_card_that_is_written_again_is_the_same_file() -> None:
    assert card_text(read_card(HUB_CARD)) == HUB_CARD.read_text()


def test_the_hubs_checker_would_take_what_is_written() -> None:
    """Its rules, as mindspore-ai/hub states them in mindspore_hub/_utils/check.py."""
    text = card_text(read_card(HUB_CARD))
    assert sum(line.startswith("---") for line in text.splitlines()) == 2
    header = yaml.safe_load(text.split("\n---\n")[1])
    assert header["fine-tunable"] is True
    assert set(header["asset"][0]) == {"file-format", "asset-link", "asset-sha256"}
    for key, value in header.items():
        assert key in ("repo-link", "asset", "evaluation") or ":" not in str(value)


@pytest.mark.parametrize(
    "content",
    [
        HUB_CARD.read_bytes().replace(b"\n", b"\r\n"),
        HUB_CARD.read_bytes().replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + HUB_CARD.read_bytes(),
        HUB_CARD.read_bytes().replace(b"\n---\n", b"\n-----  \n"),
        # As in the hub's older cards.
        HUB_CARD.read_bytes().replace(
            b"- file-format: ckpt\n  a", b"-\n    file-format: ckpt\n\n    a"
        ),
        HUB_CARD.read_bytes().replace(b"  asset-sha", b"\n  asset-sha"),
    ],
    ids=["crlf", "cr", "bom", "long fences", "item on a line of its own", "blank lines in an item"],
)
def test_other_line_ends_marks_and_indents_change_nothing(content: bytes) -> None:
    assert parse_card(content, "card.md") == read_card(HUB_CARD)


def test_the_order_of_the_keys_is_none() -> None:
    above, front, below = HUB_CARD.read_text().split("\n---\n")
    blocks = front.strip().split("\n\n")
    place = blocks.index("asset:")
    blocks[place : place + 2] = ["\n\n".join(blocks[place : place + 2])]
    turned = "\n---\n".join((above, "\n" + "\n\n".join(reversed(blocks)) + "\n", below))
    assert parsed(turned) == read_card(HUB_CARD)


def test_a_key_that_is_missing_is_empty_and_is_written_empty() -> None:
    card = parsed(changed("author: MindSpore team\n\n", ""))
    assert card.author == ""
    assert "\nauthor:\n" in card_text(card)
    assert parsed(card_text(card)) == card


def test_a_version_is_its_letters_and_no_number() -> None:
    card = parsed(changed("mindspore-version: 2.5", "mindspore-version: 2.10"))
    assert card.mindspore_version == "2.10"
    card = parsed(changed("asset-sha256: fe4fcc63", "asset-sha256: 12345e67"))
    assert card.assets[0].sha256 == "12345e67"
    again = card_text(card)
    assert parsed(again) == card
    assert yaml.safe_load(again.split("\n---\n")[1])["asset"][0]["asset-sha256"] == "12345e67"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top1acc75.58 | top5acc95.54", (75.58, 95.54)),
        ("top5acc95.54 | top1acc75.58", (75.58, 95.54)),
        ("Top-1 acc: 75.58 %, Top-5 acc: 95.54 %", (75.58, 95.54)),
        ("top_1: 75.58", (75.58, None)),
        ("top1acc0.7558 | top5acc0.9554", (75.58, 95.54)),
        ("top1acc0.5% | top5acc1.5%", (0.5, 1.5)),
        # No top-5 of 1.5 % stands beside a top-1 of 50 %.
        ("top1acc0.50 | top5acc1.50", (0.5, 1.5)),
        ("acc@1 75.58, acc@5 95.54", (75.58, 95.54)),
        ("top-1 error 24.42 | top-5 error 4.46", (None, None)),
        ("top1acc75,58 | top5acc95,54", (None, None)),
        ("acc94.4", (94.4, None)),
        ("top1acc175.58", (None, None)),
        ("mAP33.1", (None, None)),
        ("-", (None, None)),
        ("", (None, None)),
    ],
)
def test_figures_are_found_however_they_are_written(
    text: str, expected: tuple[float | None, float | None]
) -> None:
    assert figures(text) == expected


def test_each_asset_and_each_row_is_kept() -> None:
    second = (
        "- file-format: mindir\n  asset-link: [weights](https://example.org/l.mindir)\n"
        "  asset-sha256: 0123abcd\n\nlicense:"
    )
    text = changed("license:", second)
    row = next(line for line in text.splitlines() if line.startswith("| mixnet_s "))
    text = text.replace(row, f"{row}\n| **mixnet_l** | 7.38 | 8 |")
    card = parsed(text)
    assert card.assets[1] == Asset(
        file_format="mindir", link="https://example.org/l.mindir", sha256="0123abcd"
    )
    assert card.performance[1] == Performance(model_name="mixnet_l", params=7.38, cards=8)
    assert parsed(card_text(card)) == card


def test_a_table_of_other_columns_stays_prose() -> None:
    text = changed("jit level", "flash attn")
    card = parsed(text)
    assert card.performance == ()
    assert "flash attn" in card_text(card)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no model card"),
        (b"# Readme\n\nSome words.\n", "is no model card"),
        (b"# Readme\n\n---\n\nSome words between rules.\n\n---\n", "is no model card"),
        (b"---\ntitle: Blog\n---\n", "is no model card"),
        (b"---\nmodel-name: mixnet_s\n", "is no model card"),
        (b"\xff\xfe#\x00", "is no text in UTF-8"),
        (bytes(range(256)), "is no text in UTF-8"),
    ],
)
def test_what_is_no_card_is_refused_in_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=f"card.md {reason}: expected Markdown") as caught:
        parse_card(content, "card.md")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_far_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no card at"):
        read_card(tmp_path / "card.md")
    (tmp_path / "card.md").write_bytes(b"-" * (1 << 20) + b"--")
    with pytest.raises(InputError, match="a card has a few thousand"):
        read_card(tmp_path / "card.md")


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1
).map(lambda text: " ".join(text.split()))


@given(WORDS)
def test_whatever_a_value_holds_yaml_and_this_reader_read_it_back(text: str) -> None:
    card = Card(model_name="m", author=text)
    # A number or a date may stand as it is: the hub's cards have `model-version: 2.5`.
    read = yaml.safe_load(f"key: {scalar(text)}")["key"]
    assert ("" if read is None else str(read)) == text
    if text.lower() not in ("", "-", "--", "~", "null", "none", "n/a", "na", "no"):
        assert parsed(card_text(card)).author == text


@given(
    st.builds(
        Performance,
        model_name=st.sampled_from(["mixnet_s", "mixnet_xl"]),
        params=st.none() | st.integers(0, 99999).map(lambda n: n / 100),
        cards=st.none() | st.integers(1, 4096),
        graph_compile=st.none() | st.integers(0, 9999).map(float),
        speed=st.none() | st.integers(0, 10**8).map(lambda n: n / 100),
        top1=st.none() | st.integers(0, 10000).map(lambda n: n / 100),
        resolution=st.sampled_from(["", "224x224"]),
    )
)
def test_whatever_a_row_holds_is_read_back(row: Performance) -> None:
    card = Card(
        model_name="m", top1=row.top1, performance=(row,), body=(Part(table="performance"),)
    )
    again = parsed(card_text(card))
    assert (again.performance, again.top1) == ((row,), row.top1)


def test_a_cell_that_is_empty_moves_no_figure_into_another_column() -> None:
    rows = "|model name|params(M)|acc@top1|acc@top5|\n|-|-|-|-|\n||4.17|75.58|95.54|\n"
    (row,) = parsed(f"---\nmodel-name: m\n---\n\n{rows}").performance
    assert row == Performance(params=4.17, top1=75.58, top5=95.54)
