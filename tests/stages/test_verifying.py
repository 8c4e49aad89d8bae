"""What was changed in a registry is found, by name; what was not is confirmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import IntegrityError
from mixnet_core.evaluate.report.registry_index import write_index
from mixnet_core.release.promotion import promote
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release
from mixnet_core.release.signing import VERIFY_KEY, sign_release
from mixnet_core.stages.verifying import require_verified, verify_release
from tests.registries import CLASSES, make_release
from tests.release.signing_keys import key_pair


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A release with everything, an alias and an index."""
    folder, to = tmp_path / "r", (tmp_path / "r").as_uri()
    made = make_release("base", to, tmp_path)
    files = {}
    for role, file in made.files.items():
        files[role] = tmp_path / file.name
        files[role].write_bytes((folder / "base" / file.name).read_bytes())
    for role, name, text in (("card", "card.md", "# card"), ("config", "config.json", "{}")):
        files[role] = tmp_path / name
        files[role].write_text(text)
    publish_release("digits-1", registry=to, files=files, facts=made.facts)
    (folder / "digits-1" / "README.md").write_text("# card")
    (folder / "digits-1" / "config.json").write_text("{}")
    promote("production", "digits-1", to)
    write_index(to)
    return folder


def bad(registry: Path) -> set[str]:
    release = read_release((registry / "digits-1").as_uri())
    return {item.what for item in verify_release(release) if not item.ok}


def test_what_was_published_is_confirmed(registry: Path) -> None:
    release = read_release((registry / "production").as_uri())
    findings = verify_release(release)
    assert [item.what for item in findings if not item.ok] == []
    require_verified(release, findings)
    said = {item.what for item in findings}
    assert {"README.md", "config.json", "index.json", "index.html", "manifest.json"} <= said
    assert {file.name for file in release.files.values()} <= said


@pytest.mark.parametrize("role", ["weights", "recipe", "answers", "card", "config"])
@pytest.mark.parametrize("change", ["flipped", "longer", "gone"])
def test_a_changed_or_missing_file_is_named(role: str, change: str, registry: Path) -> None:
    release = read_release((registry / "digits-1").as_uri())
    file = registry / "digits-1" / release.files[role].name
    content = file.read_bytes()
    if change == "gone":
        file.unlink()
    else:
        flipped = bytes([content[0] ^ 1]) + content[1:]
        file.write_bytes(flipped if change == "flipped" else content + b" ")
    assert bad(registry) == {file.name}
    with pytest.raises(IntegrityError) as caught:
        require_verified(release, verify_release(release))
    assert file.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("view", ["README.md", "config.json"])
def test_a_changed_or_missing_view_is_named(view: str, registry: Path) -> None:
    path = registry / "digits-1" / view
    path.write_text("others")
    assert bad(registry) == {view}
    path.unlink()
    # The index says whether there is a card.
    assert bad(registry) - {"index.json"} == {view}


def test_a_figure_that_is_no_share_is_no_claim_and_hides_no_other_release(
    registry: Path, tmp_path: Path
) -> None:
    facts = {"val": {"top1": 10**400, "top5": 97.5}}
    weights = tmp_path / "w.ckpt"
    weights.write_bytes(b"w")
    publish_release("odd", registry=registry.as_uri(), files={"weights": weights}, facts=facts)
    assert read_release((registry / "odd").as_uri()).claims == {}
    rows = {row.name: row for row in write_index(registry.as_uri()).releases}
    assert rows.keys() == {"base", "digits-1", "odd"}
    assert (rows["odd"].top1, rows["odd"].top5) == (None, None)


def test_a_broken_alias_is_named_among_all_else(registry: Path) -> None:
    (registry / "aliases" / "production" / "000002.json").write_text("{")
    assert "alias production" in bad(registry)
    findings = verify_release(read_release((registry / "digits-1").as_uri()))
    assert "index.html" in {item.what for item in findings}


def edited(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


def test_a_manifest_whose_figures_were_raised_is_named_even_without_index_and_alias(
    registry: Path,
) -> None:
    def raised(data: Any) -> None:
        data["facts"]["val"] |= {"correct1": 4, "top1": 0.8}

    edited(registry / "digits-1" / "manifest.json", raised)
    assert bad_of(registry) == {"manifest.json", "index.json"}
    for left in ("index.json", "index.html", "aliases/production/000001.json"):
        (registry / left).unlink()
    assert bad_of(registry) == {"manifest.json"}


def test_a_share_that_is_not_its_counts_is_named(registry: Path) -> None:
    edited(registry / "digits-1" / "manifest.json", lambda d: d["facts"]["val"].update(top1=0.99))
    (registry / "index.json").unlink()
    (registry / "aliases/production/000001.json").unlink()
    assert bad_of(registry) == {"manifest.json"}


def test_a_manifest_that_is_another_than_an_alias_was_set_to_is_named(registry: Path) -> None:
    edited(registry / "digits-1" / "manifest.json", lambda data: data["facts"].update(engine="x"))
    (registry / "index.json").unlink()
    assert bad_of(registry) == {"manifest.json"}


def bad_of(registry: Path) -> set[str]:
    """By the release's own name: its alias is refused by then."""
    release = read_release((registry / "digits-1").as_uri())
    return {item.what for item in verify_release(release) if not item.ok}


def test_a_changed_index_is_named_and_so_is_its_page(registry: Path) -> None:
    kept = (registry / "index.json").read_text()
    edited(registry / "index.json", lambda data: data["releases"][1].update(top1=0.999))
    assert bad(registry) == {"index.json", "index.html"}
    for text in ("{", "[]", '{"format": 1, "releases": []}'):
        (registry / "index.json").write_text(text)
        assert "index.json" in bad(registry)
    (registry / "index.json").write_text(kept)
    page = registry / "index.html"
    page.write_text(page.read_text().replace("60.00", "99.00"))
    assert bad(registry) == {"index.html"}
    release = read_release((registry / "digits-1").as_uri())
    with pytest.raises(IntegrityError, match=r"is what was published, what its registry shows"):
        require_verified(release, verify_release(release))
    write_index(registry.as_uri())
    assert bad(registry) == set()


def test_what_else_stands_in_its_folder_is_said(registry: Path) -> None:
    (registry / "digits-1" / "load.py").write_text("print()")
    (registry / "digits-1" / "more").mkdir()
    release = read_release((registry / "digits-1").as_uri())
    said = {item.what: item.said for item in verify_release(release)}
    assert said["load.py"] == said["more/"] == "is not the release's: no manifest.json names it"
    assert bad(registry) == set()


def test_a_copied_registry_is_confirmed_whatever_its_dates(registry: Path) -> None:
    import os

    os.utime(registry / "digits-1" / "manifest.json", (1e9, 1e9))
    assert bad(registry) == set()


def test_predictions_of_other_classes_are_named(registry: Path) -> None:
    def others(data: Any) -> None:
        data["facts"]["classes"] = [name.upper() for name in CLASSES]

    edited(registry / "digits-1" / "manifest.json", others)
    assert "manifest.json" in bad_of(registry)


def test_with_a_key_a_missing_or_anothers_signature_is_named(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VERIFY_KEY, raising=False)
    uri = (registry / "digits-1").as_uri()
    private, public = key_pair(tmp_path / "keys", "mine")
    _, others = key_pair(tmp_path / "others", "other")

    def signature(key: Path | None) -> tuple[bool, str]:
        findings = verify_release(read_release(uri), key)
        (found,) = (item for item in findings if item.what == "model.sig")
        return found.ok, found.said

    assert signature(None) == (True, "is not there: not signed")
    assert signature(public)[0] is False
    sign_release(uri, private)
    assert signature(public)[0] is True
    assert signature(others)[0] is False
    # Nobody's word for it.
    assert "by whom it is, was not looked at" in signature(None)[1]
    monkeypatch.setenv(VERIFY_KEY, str(others))
    assert signature(None)[0] is False
