"""The cache of exported graphs; exporting itself is in test_engines.py."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.evaluate import onnx_export
from mixnet_core.evaluate.onnx_export import network_graph
from mixnet_core.recipe.recipe import Recipe, load_recipe

RECIPE = load_recipe("digits")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path))
    return tmp_path / "engines"


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was exported so far, never the same twice."""
    done: list[bytes] = []

    def export(recipe: Recipe, classes: int) -> bytes:
        done.append(f"graph {len(done)} of {classes} classes".encode())
        return done[-1]

    monkeypatch.setattr(onnx_export, "_exported", export)
    return done


def changed(**changes: Any) -> Recipe:
    return load_recipe("digits", {key.replace("__", "."): value for key, value in changes.items()})


def test_the_second_time_the_kept_file_is_read(folder: Path, exports: list[bytes]) -> None:
    assert network_graph(RECIPE, 10) == network_graph(RECIPE, 10) == exports[0]
    assert len(exports) == 1
    (file,) = folder.iterdir()
    assert file.name.endswith(f"-{hashlib.sha256(exports[0]).hexdigest()}.onnx")


@pytest.mark.parametrize("damage", [b"", b"graph 0 of 10 classe", b"grapH 0 of 10 classes"])
def test_a_damaged_file_is_exported_again(
    folder: Path, exports: list[bytes], damage: bytes
) -> None:
    network_graph(RECIPE, 10)
    (file,) = folder.iterdir()
    file.write_bytes(damage)
    assert network_graph(RECIPE, 10) == exports[1]
    assert [path.read_bytes() for path in folder.iterdir()] == [exports[1]]
    assert network_graph(RECIPE, 10) == exports[1]


@pytest.mark.parametrize(
    "other",
    [
        changed(network__variant="m"),
        changed(network__flavour="timm"),
        changed(network__in_channels=1),
        changed(network__stem_stride=2),
        changed(input__image_size=8),
    ],
)
def test_another_network_has_a_file_of_its_own(
    folder: Path, exports: list[bytes], other: Recipe
) -> None:
    assert network_graph(RECIPE, 10) != network_graph(other, 10)
    assert network_graph(RECIPE, 9) == exports[2]
    assert len(list(folder.iterdir())) == 3


def test_what_leaves_the_graph_alone_needs_no_other(folder: Path, exports: list[bytes]) -> None:
    for recipe in (
        RECIPE,
        changed(network__drop_rate=0.3),
        changed(network__num_classes=None),
        changed(training__seed=7, devices__ranks=1),
        changed(input__mean=[1.0, 2.0, 3.0]),
    ):
        assert network_graph(recipe, 10) == exports[0]


def test_code_that_changed_since_exports_again(
    folder: Path, exports: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "layers.py"
    monkeypatch.setattr(onnx_export, "_sources", lambda: [source])
    for text, expected in (("a = 1", 0), ("a = 2", 1), ("a = 1", 0)):
        source.write_text(text)
        assert network_graph(RECIPE, 10) == exports[expected]


def test_the_networks_own_code_is_among_the_sources() -> None:
    names = {path.name for path in onnx_export._sources()}
    assert {"mixnet.py", "layers.py", "variants.py", "onnx_export.py"} <= names


def test_only_the_files_used_last_are_kept(
    folder: Path, exports: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "KEPT", 2)
    for age, classes in enumerate((10, 9)):
        network_graph(RECIPE, classes)
        newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    network_graph(RECIPE, 10)
    network_graph(RECIPE, 8)
    assert {path.read_bytes() for path in folder.iterdir()} == {exports[0], exports[2]}


@pytest.mark.usefixtures("exports")
def test_a_cache_that_cannot_be_used_is_said_and_exports_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MIXNET_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert network_graph(RECIPE, 10) == b"graph 0 of 10 classes"
    assert "the exported network is not kept" in caplog.text
