"""Signatures are judged by model-signing's own program too, on a folder and on S3."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mixnet_core.errors import InputError, IntegrityError, MachineError
from mixnet_core.release.local_weights import LocalWeights
from mixnet_core.release.origin import origin_of
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import read_release
from mixnet_core.release.signing import (
    SIGN_KEY,
    SIGNATURE,
    VERIFY_KEY,
    expect_keys,
    require_signed,
    sign_release,
    verify_signature,
)
from mixnet_core.release.told import Told
from mixnet_core.release.weights import fetch_weights
from mixnet_core.stages.verifying import require_verified, verify_release
from mixnet_core.storage.files import sha256_of
from mixnet_core.storage.open import open_storage
from tests.release.signing_keys import certified, key_pair

SUBJECT = "weights"
EXPLICIT_CURVE = """-----BEGIN EC PRIVATE KEY-----
MIIBUQIBAQQgDJb5ZjfdUXCxxEHkeS6+9Wy4rQSSfpJxiY+Bovm+VfiggeMwgeAC
AQEwLAYHKoZIzj0BAQIhAP////////////////////////////////////7///wv
MEQEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABCAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAABwRBBHm+Zn753LusVaBilc6HCwcCm/zbLc4o
2VnygVsW+BeYSDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj/sQ1LgCIQD/////
///////////////+uq7c5q9IoDu/0l6M0DZBQQIBAaFEA0IABHpW8p7CaM2jCHQK
2NmURfWqKevaYQdDILjfagAJGV+Dl6Gr7DhydNin6fjsSu9LTRTrDh6TKpFeaBD9
ukgOnd4=
-----END EC PRIVATE KEY-----
"""


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SIGN_KEY, VERIFY_KEY):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return key_pair(tmp_path_factory.mktemp("keys"), "mine")


@pytest.fixture
def files(weights: Path, tmp_path: Path) -> dict[str, Path]:
    card, config = tmp_path / "README.md", tmp_path / "config.json"
    card.write_text("# mine\n")
    config.write_text("{}\n")
    return {"weights": weights, "card": card, "config": config}


@pytest.fixture
def release(files: dict[str, Path], tmp_path: Path) -> Path:
    """A published release's folder."""
    to = tmp_path / "releases"
    publish_release("mine", registry=str(to), files=files, facts={"variant": "s"})
    return to / "mine"


def verified(uri: str, key: Path | None = None) -> str:
    """Verifies all of a release, as `mixnet release verify`; what is said of its signature."""
    release = read_release(uri)
    findings = verify_release(release, key)
    require_verified(release, findings)
    (found,) = (item.said for item in findings if item.what == SIGNATURE)
    return found


def program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What model-signing installs, as people who do not know this project type it."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_model_signings_own_program_verifies_the_folder(
    release: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    assert sign_release(release.as_uri(), private)
    arguments = ("verify", "key", release, "--signature", release / SIGNATURE, "--public_key")
    done = program(*arguments, public)
    assert done.returncode == 0, done.stderr
    (release / "README.md").write_text("# other\n")
    assert program(*arguments, public).returncode != 0


def test_what_model_signings_own_program_signed_is_verified(
    release: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    done = program(
        "sign", "key", release, "--signature", release / SIGNATURE, "--private_key", private
    )
    assert done.returncode == 0, done.stderr
    assert "is signed" in verified(release.as_uri(), public)


def test_without_a_key_all_works_and_it_says_not_signed(release: Path) -> None:
    assert verified(release.as_uri()) == "is not there: not signed"


def test_a_signature_that_nobody_verified_is_not_called_good(
    release: Path, keys: tuple[Path, Path]
) -> None:
    sign_release(release.as_uri(), keys[0])
    assert "by whom it is, was not looked at" in verified(release.as_uri())


def test_signing_again_changes_nothing_and_mends_what_is_wrong(
    release: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    assert sign_release(release.as_uri(), private)
    before = (release / SIGNATURE).read_bytes()
    assert not sign_release(release.as_uri(), private)
    assert (release / SIGNATURE).read_bytes() == before
    (release / SIGNATURE).write_bytes(before[:-9])
    assert sign_release(release.as_uri(), private)
    assert "is signed" in verified(release.as_uri(), public)
    other, others_public = key_pair(tmp_path, "other")
    assert sign_release(release.as_uri(), other)
    assert "is signed" in verified(release.as_uri(), others_public)


def flip(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("role", ["weights", "card", "README.md", "config.json"])
def test_a_tampered_file_is_refused_by_name(
    release: Path, keys: tuple[Path, Path], role: str
) -> None:
    sign_release(release.as_uri(), keys[0])
    (path,) = release.glob(f"{role}-*") if "." not in role else [release / role]
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(IntegrityError, match=rf"{path.name} (has sha256|differs from)") as caught:
        verified(release.as_uri(), keys[1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_a_missing_view_is_named(release: Path, name: str) -> None:
    (release / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing, a copy of"):
        verified(release.as_uri())


def test_a_manifest_that_was_changed_with_its_weights_is_refused_by_name(
    release: Path, keys: tuple[Path, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    sign_release(release.as_uri(), keys[0])
    files["weights"].write_bytes(b"other")
    publish_release("mine", registry=str(tmp_path / "o"), files=files, facts={"variant": "s"})
    for path in (tmp_path / "o" / "mine").iterdir():
        shutil.copy(path, release)
    # Without the key it looks whole.
    assert "was not looked at" in verified(release.as_uri())
    with pytest.raises(IntegrityError, match=r"manifest\.json is not what was signed"):
        verified(release.as_uri(), keys[1])


def test_a_changed_fact_is_refused_by_name(release: Path, keys: tuple[Path, Path]) -> None:
    sign_release(release.as_uri(), keys[0])
    manifest = release / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"variant": "s"', '"variant": "m"'))
    with pytest.raises(IntegrityError, match=r"manifest\.json is not what was signed"):
        verify_signature(release.as_uri(), keys[1])


def signature_of(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bundle: b"", "no signature that can be read"),
        (lambda bundle: b"[]", "no signature that can be read"),
        (lambda bundle: bundle[:-30], "no signature that can be read"),
        (lambda bundle: b"\xff" * 99, "no signature that can be read"),
        (
            lambda bundle: bundle.replace(b'"sig":"M', b'"sig":"N'),
            r"no signature by the key of .*\.pub",
        ),
    ],
    ids=["empty", "other", "cut", "no text", "other letters"],
)
def test_a_tampered_signature_is_refused_by_name(
    release: Path, keys: tuple[Path, Path], change: object, reason: str
) -> None:
    sign_release(release.as_uri(), keys[0])
    path = release / SIGNATURE
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(IntegrityError, match=rf"mine/model\.sig is {reason}") as caught:
        verified(release.as_uri(), keys[1])
    assert "\n" not in str(caught.value)


def test_another_publishers_signature_is_refused(
    release: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    sign_release(release.as_uri(), key_pair(tmp_path, "other")[0])
    with pytest.raises(IntegrityError, match="another key signed it"):
        verify_signature(release.as_uri(), keys[1])


def test_a_signature_of_some_files_only_is_refused(
    release: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    shutil.copy(release / "manifest.json", part)
    done = program(
        "sign", "key", part, "--signature", release / SIGNATURE, "--private_key", keys[0]
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(IntegrityError, match=r"model\.sig does not cover README\.md, card-"):
        verify_signature(release.as_uri(), keys[1])


def test_a_certificate_signs_and_its_authority_verifies(release: Path, tmp_path: Path) -> None:
    private, trusted = certified(tmp_path / "a")
    assert sign_release(release.as_uri(), private)
    assert not sign_release(release.as_uri(), private)
    assert "is signed" in verified(release.as_uri(), trusted)
    with pytest.raises(IntegrityError, match="is no signature by the key of"):
        verified(release.as_uri(), certified(tmp_path / "b")[1])


def test_an_encrypted_key_takes_its_password_from_the_environment(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path, "locked", b"opensesame")
    with pytest.raises(InputError, match="MIXNET_SIGN_PASSWORD"):
        sign_release(release.as_uri(), private)
    monkeypatch.setenv("MIXNET_SIGN_PASSWORD", "opensesame")
    assert sign_release(release.as_uri(), private)
    assert "is signed" in verified(release.as_uri(), public)


def test_a_key_that_is_none_is_named_before_the_work(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    words, curve = tmp_path / "words.pem", tmp_path / "curve.pem"
    words.write_text("hello")
    # Of secp256k1, its parameters written out: `openssl ecparam -param_enc explicit`.
    curve.write_text(EXPLICIT_CURVE)
    for private, public in ((words, None), (None, words), (keys[1], None), (curve, None)):
        with pytest.raises(InputError, match=r"cannot use the key .* expected one of P-256"):
            expect_keys(private, public)
    with pytest.raises(InputError, match="no private key at"):
        expect_keys(tmp_path / "missing.pem", None)
    assert expect_keys(None, None) == ""
    assert "are signed with" in expect_keys(*keys)


def test_with_a_key_configured_only_signed_releases_are_fetched(
    release: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VERIFY_KEY, str(keys[1]))
    registry, cache = str(release.parent), tmp_path / "cache"
    with pytest.raises(IntegrityError, match="mine is not signed"):
        fetch_weights("mine", cache=cache, registry=registry)
    sign_release(release.as_uri(), keys[0])
    assert Path(fetch_weights("mine", cache=cache, registry=registry).path).is_file()
    # A copy under another name, too, with its weights renamed.
    copy = tmp_path / "copied"
    shutil.copytree(release, copy)
    (copy / SIGNATURE).unlink()
    file = next(copy.glob("weights-*")).rename(copy / "renamed.ckpt")
    sha256 = sha256_of(file)
    found: Any = SimpleNamespace(variant="s")
    local = LocalWeights(file, sha256, ".ckpt", found, origin_of(file, sha256), Told())
    with pytest.raises(IntegrityError, match="copied is not signed"):
        require_signed(local)
    shutil.copy(release / SIGNATURE, copy)
    require_signed(local)
    # A file of one's own, which lies in no release.
    require_signed(LocalWeights(file, sha256, ".ckpt", found, None, Told()))


def test_a_release_in_a_store_is_signed_and_verified_there(
    s3_environment: object, files: dict[str, Path], keys: tuple[Path, Path]
) -> None:
    to = f"s3://releases/{uuid.uuid4().hex}"
    uri = publish_release("mine", registry=to, files=files, facts={}).uri
    sign_release(uri, keys[0])
    assert "is signed" in verified(uri, keys[1])
    storage = open_storage(to)
    bundle = storage.read(f"mine/{SIGNATURE}")
    assert json.loads(bundle)["mediaType"].startswith("application/vnd.dev.sigstore.bundle")


def test_without_model_signing_it_says_what_to_install(
    release: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_release(release.as_uri(), keys[0])
    for name in [name for name in sys.modules if name.partition(".")[0] == "model_signing"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MachineError, match=r"pip install 'mindspore-mixnet\[signing\]'"):
        sign_release(release.as_uri(), keys[0])
    with pytest.raises(MachineError, match=r"pip install 'mindspore-mixnet\[signing\]'"):
        verified(release.as_uri(), keys[1])
    assert "was not looked at" in verified(release.as_uri())
