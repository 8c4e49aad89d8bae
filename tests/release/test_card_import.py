from __future__ import annotations

from pathlib import Path

import pytest

from mixnet_core.errors import InputError, ReleaseConflict
from mixnet_core.release.card_import import import_card
from mixnet_core.release.catalog import USER_CATALOG, imported_catalog, load_catalog
from tests.release.test_card_file import HUB_CARD

NAME = "mixnet_s-fe4fcc63-910v2"


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "catalog.yaml"
    monkeypatch.setenv(USER_CATALOG, str(path))
    return path


def card_with(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = HUB_CARD.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "card.md"
    path.write_text(text)
    return path


def test_what_a_card_claims_becomes_claims_of_an_entry_with_its_digest(catalog: Path) -> None:
    found = import_card(HUB_CARD)
    assert found.added == (NAME,)
    assert load_catalog()[NAME] == found.entries[0]
    entry = found.entries[0]
    assert (entry.variant, entry.flavour, entry.num_classes) == ("s", "mindcv", 1000)
    assert (entry.sha256, entry.claimed_top1, entry.claimed_top5) == ("fe4fcc63", 75.58, 95.54)
    assert entry.url.endswith("/mixnet_s-fe4fcc63-910v2.ckpt")
    assert entry.source == "MindSpore team, trained on ImageNet2012"
    assert "the catalog has the same weights as mixnet_s-910v2" in found.lines
    assert found.lines[-1].endswith("it claims top-1 75.58 %, top-5 95.54 %")


def test_the_same_card_again_adds_nothing(catalog: Path) -> None:
    import_card(HUB_CARD)
    before = catalog.read_bytes()
    assert import_card(HUB_CARD).added == ()
    assert catalog.read_bytes() == before


@pytest.mark.parametrize(
    "written",
    [
        "# mine\nreleases:  # kept\n- name: mine\n",
        "releases:\n    # two\n    - name: mine\n",
    ],
)
def test_what_people_wrote_in_their_catalog_stays(catalog: Path, written: str) -> None:
    keys = "url: https://example.org/m.ckpt\nsha256: 01234567\nvariant: s\nflavour: timm\n"
    keys += "num_classes: 3\nsource: me\n"
    indent = " " * (written.index("- name") - written.rindex("\n", 0, written.index("- ")) - 1 + 2)
    catalog.write_text(written + "".join(f"{indent}{line}\n" for line in keys.splitlines()))
    before = catalog.read_text()
    import_card(HUB_CARD)
    assert catalog.read_text().startswith(before)
    assert {"mine", NAME} <= load_catalog().keys()


def test_to_a_catalog_in_braces_nothing_is_added_and_what_to_add_is_said(catalog: Path) -> None:
    catalog.write_text(
        "{releases: [{name: mine, url: 'https://example.org/m.ckpt', sha256: '01234567', "
        "variant: s, flavour: timm, num_classes: 3, source: me}]}"
    )
    before = catalog.read_bytes()
    with pytest.raises(InputError, match=f"as it is written: add this to its .*{NAME}"):
        import_card(HUB_CARD)
    assert catalog.read_bytes() == before


def test_another_entry_of_the_name_is_not_overwritten(catalog: Path, tmp_path: Path) -> None:
    import_card(HUB_CARD)
    other = card_with(tmp_path, ("fe4fcc63\n", "fe4fcc64\n"))
    before = catalog.read_bytes()
    with pytest.raises(ReleaseConflict, match=f"{NAME} is the name of other weights"):
        import_card(other)
    assert catalog.read_bytes() == before
    assert import_card(other, name="other").added == ("other",)


def test_the_tables_figure_stands_before_the_keys_and_it_is_said(
    catalog: Path, tmp_path: Path
) -> None:
    found = import_card(card_with(tmp_path, ("top1acc75.58", "top1acc76.00")))
    assert found.entries[0].claimed_top1 == 75.58
    assert "two figures of top-1, 76.0 in its keys and 75.58 in its table" in found.lines[0]


def test_a_file_beside_the_card_and_its_recipe_are_found(catalog: Path, tmp_path: Path) -> None:
    url = (
        "https://download-mindspore.osinfra.cn/toolkits/mindcv/mixnet/mixnet_s-fe4fcc63-910v2.ckpt"
    )
    recipe = "https://github.com/mindspore-lab/mindcv/blob/main/configs/mixnet/mixnet_s_ascend.yaml"
    (tmp_path / "recipe.yaml").touch()
    keys = "num-classes: 10\n\nflavour: timm\n\nin-channels: 1\n\nstem-stride: 1\n\nvariant: m\n"
    (entry,) = import_card(
        card_with(
            tmp_path,
            (url, "weights-1.ckpt"),
            (recipe, "recipe.yaml"),
            ("train-dataset: ImageNet2012", f"train-dataset: digits\n\n{keys}"),
        )
    ).entries
    assert entry.url == (tmp_path / "weights-1.ckpt").as_uri()
    assert entry.recipe == str(tmp_path / "recipe.yaml")
    assert (entry.variant, entry.flavour, entry.num_classes) == ("m", "timm", 10)
    assert (entry.in_channels, entry.stem_stride) == (1, 1)


def test_of_several_files_each_has_the_figures_of_its_row(catalog: Path, tmp_path: Path) -> None:
    second = "- file-format: ckpt\n  asset-link: https://example.org/mixnet_l-0123abcd.ckpt\n"
    second += "  asset-sha256: 0123abcd\n- file-format: mindir\n  asset-link: x.mindir\n\nlicense:"
    path = card_with(tmp_path, ("license:", second))
    text = path.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| mixnet_s "))
    other = row.replace("mixnet_s", "mixnet_l").replace("fe4fcc63-910v2", "0123abcd")
    path.write_text(text.replace(row, f"{row}\n{other.replace('75.58', '78.73')}"))
    found = import_card(path)
    assert [(e.name, e.variant, e.claimed_top1) for e in found.entries] == [
        (NAME, "s", 75.58),
        ("mixnet_l-0123abcd", "l", 78.73),
    ]
    assert "x.mindir is left out: mindir" in found.lines


def test_the_row_of_a_file_whose_name_ends_alike_is_another_ones(
    catalog: Path, tmp_path: Path
) -> None:
    path = card_with(tmp_path)
    text = path.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| mixnet_s "))
    other = row.replace("mixnet_s", "tf_mixnet_s").replace("75.58", "11.11")
    path.write_text(text.replace(row, f"{other}\n{row}"))
    (entry,) = import_card(path).entries
    assert (entry.flavour, entry.claimed_top1) == ("mindcv", 75.58)


def test_a_row_that_names_one_file_is_not_another_files(catalog: Path, tmp_path: Path) -> None:
    second = "- file-format: ckpt\n  asset-link: https://example.org/mixnet_l-0123abcd.ckpt\n"
    path = card_with(tmp_path, ("license:", f"{second}  asset-sha256: 0123abcd\n\nlicense:"))
    found = import_card(path)
    assert [entry.claimed_top1 for entry in found.entries] == [75.58, None]
    assert any("names mixnet_l-0123abcd.ckpt: its figures" in line for line in found.lines)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("file-format: ckpt", "file-format: mindir", r"no file that can be loaded \(mindir\)"),
        ("  asset-sha256: fe4fcc63\n", "", "states nothing as the sha256"),
        ("asset-sha256: fe4fcc63", "asset-sha256: e4fc", "states e4fc as the sha256"),
        ("ImageNet2012", "flowers", r"how many classes there are \(train-dataset flowers\)"),
        ("mixnet", "ghostnet", "is of ghostnet_s, which is none of mixnet_s"),
        ("https://download", "http://download", "is not encrypted"),
        ("https://download", "https://user:secret@download", "must not hold credentials"),
    ],
)
def test_a_card_that_makes_no_entry_is_refused_with_the_reason(
    catalog: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        import_card(card_with(tmp_path, (old, new)))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not catalog.exists()


def test_without_a_catalog_of_ones_own_the_cache_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(USER_CATALOG, raising=False)
    found = import_card(HUB_CARD)
    assert found.catalog == imported_catalog()
    assert NAME in load_catalog()
