"""The index of a registry: what it says, that it is safe to open, and that it stops nobody."""

from __future__ import annotations

import json
import logging
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scipy.stats import binomtest

from mixnet_core.errors import TransientError
from mixnet_core.evaluate.report import registry_index
from mixnet_core.evaluate.report.registry_index import renew_index, write_index
from mixnet_core.release.promotion import promote, retire
from mixnet_core.release.publish import publish_release
from mixnet_core.storage.open import open_storage
from tests.registries import keys, make_release, overwrite


class Page(HTMLParser):
    """The text of a page, its links and its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(to: str) -> Page:
    return Page(open_storage(to).read("index.html").decode())


def test_it_lists_figures_dates_aliases_and_files_that_are_there(to: str, tmp_path: Path) -> None:
    release = make_release("digits-1", to, tmp_path, places=[0] * 9 + [1])
    make_release("digits-2", to, tmp_path)
    overwrite(to, "digits-1/README.md", b"# card")
    promote("production", "digits-1", to)
    retire("digits-2", to, why="a label was wrong")
    write_index(to)
    document = json.loads(open_storage(to).read("index.json"))
    first, second = document["releases"]
    interval = binomtest(9, 10).proportion_ci(method="wilson")
    assert (first["top1"], first["images"], first["variant"]) == (0.9, 10, "s")
    assert first["top1_low"] == pytest.approx(interval.low, abs=1e-9)
    assert first["top1_high"] == pytest.approx(interval.high, abs=1e-9)
    assert (first["aliases"], first["retired"], first["card"]) == (["production"], None, True)
    assert (second["aliases"], second["retired"]) == ([], "a label was wrong")
    assert first["manifest_sha256"] == release.manifest_sha256
    assert first["files"]["weights"]["name"] == release.files["weights"].name
    page = page_of(to)
    for words in ("digits-1", "90.00", "59.58 to 98.21", "production", "a label was wrong"):
        assert words in page.words
    linked = [link for link in page.links if link not in ("data:,", "index.json")]
    assert "digits-1/README.md" in linked
    assert f"digits-1/{release.files['weights'].name}" in linked
    assert set(linked) <= set(keys(to))


def test_equal_registries_have_equal_indices(to: str, tmp_path: Path) -> None:
    make_release("digits-1", to, tmp_path)
    storage = open_storage(to)
    write_index(to)
    before = {item.key: item.modified for item in storage.listed() if "/" not in item.key}
    write_index(to)
    assert {item.key: item.modified for item in storage.listed() if "/" not in item.key} == before


def test_nothing_that_somebody_wrote_is_markup(tmp_path: Path) -> None:
    to = (tmp_path / "r").as_uri()
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\u202e"
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"w")
    facts = {"variant": evil, "flavour": evil, "image_size": evil, "classes": [evil] * 3}
    publish_release("digits-1", registry=to, files={"weights": file}, facts=facts)
    retire("digits-1", to, why=evil[:-6])
    write_index(to)
    page = page_of(to)
    assert not page.tags & {"script", "img"}
    assert "<script>alert(1)</script>" in page.words
    assert "\x1b" not in page.words
    assert "\u202e" not in page.words


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"val": 3, "variant": 7, "classes": "abc", "image_size": True, "flavour": None},
        {"val": {"count": 0, "correct1": 0, "correct5": 0, "loss": 0.0}},
        {"val": {"count": 3, "correct1": 4, "correct5": 4, "loss": 0.0}},
        {"val": {"count": True, "correct1": True, "correct5": 1, "loss": 0.0}},
        {"val": {"top1": 0.5}},
    ],
)
def test_a_release_with_odd_facts_has_a_row_without_figures(
    facts: dict[str, object], tmp_path: Path
) -> None:
    to = (tmp_path / "r").as_uri()
    file = tmp_path / "w.ckpt"
    file.write_bytes(b"w")
    publish_release("odd", registry=to, files={"weights": file}, facts=facts)
    (row,) = write_index(to).releases
    assert (row.name, row.images, row.top1_low) == ("odd", None, None)
    assert row.top1 == (0.5 if facts.get("val") == {"top1": 0.5} else None)
    assert "odd" in page_of(to).words


@pytest.mark.parametrize("error", [TransientError("the store is down"), ValueError("a fault")])
def test_an_index_that_cannot_be_made_is_a_warning(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    to = (tmp_path / "r").as_uri()
    make_release("digits-1", to, tmp_path)

    def failing(registry: str) -> None:
        raise error

    monkeypatch.setattr(registry_index, "write_index", failing)
    with caplog.at_level(logging.WARNING):
        renew_index(to)
    (said,) = caplog.messages
    assert str(error) in said
    assert "`mixnet release index` makes it anew" in said


def test_on_s3_a_browser_shows_it_rather_than_saving_it(
    s3_environment: object, tmp_path: Path
) -> None:
    to = f"s3://releases/{tmp_path.name.replace('_', '-')}"
    make_release("digits-1", to, tmp_path)
    write_index(to)
    storage = open_storage(to)
    head = storage._client.head_object(**storage._where("index.html"))  # type: ignore[attr-defined]
    assert head["ContentType"] == "text/html; charset=utf-8"
