"""What a user pastes with a secret in it is refused, and printed and written nowhere."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mixnet_core.errors import InputError, MixnetError
from mixnet_core.evaluating import evaluate_file
from mixnet_core.options import adjusted_recipe, open_workspace, parse_settings, releases_uri
from mixnet_core.preflight import check_publish
from mixnet_core.recipe import load_recipe, parse_recipe, read_recipe
from mixnet_core.release.catalog import find_release
from mixnet_core.release.publish import list_releases, read_release
from mixnet_core.release.weights import fetch_weights
from mixnet_core.run_dir import Workspace
from mixnet_core.runs import existing_run, open_run
from mixnet_core.storage import open_object, open_storage
from mixnet_core.transfer import check_served, check_url, transfer
from mixnet_core.uris import holds_credentials, shown, shown_words
from tests.tiny import mixnet

ROOT = Path(__file__).parent.parent
MARK = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAKEY:SECRET@bucket",
        "s3://AKIAKEY:SECRET@bucket/a/b",
        "S3://AKIAKEY:SECRET@bucket",
        "s3:/AKIAKEY:SECRET@bucket",
        "s3://AKIAKEY:SE/CR+ET@bucket/prefix",
        "s3://AKIAKEY/SECRET@bucket",
        "s3://AKIAKEY:SECRET",
        "s3://AKIAKEY%3ASECRET%40bucket",
        "AKIAKEY:SECRET@bucket",
        "AKIAKEY:SE/CRET@bucket/prefix",
        "https://user:SECRET@host/file.ckpt",
        "https://user:SE/CRET@host/file.ckpt",
        "https://SECRET@host/file.ckpt",
        "http://user:SECRET@127.0.0.1:9000",
    ],
)
def test_credentials_are_seen_in_whatever_form_they_are_pasted(text: str) -> None:
    assert holds_credentials(text)
    assert "SECRET" not in shown(text)
    with pytest.raises(InputError, match="must not hold credentials") as error:
        open_storage(text)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix",
        "s3://bucket/team@corp/releases",
        "file:///data/a@b",
        "file:///data/a:b@c",
        "/data/a:b@c",
        "./x:y@z",
        "~/a:b@c",
        "releases/a@b",
        "mixnet_s-910v2",
        "https://host:8443/a/b.ckpt",
        "https://host/a/b@2x.ckpt",
        "checked by: me@example.com",
    ],
)
def test_what_holds_none_is_taken_and_shown_as_it_is(text: str) -> None:
    assert not holds_credentials(text)
    assert shown(text) == text


def test_a_signature_behind_a_question_mark_is_not_shown() -> None:
    for url in ("https://h/f.ckpt?X-Amz-Signature=SECRET", "h/f.ckpt?AWSAccessKeyId=SECRET&a=b"):
        assert shown(url) == url.partition("?")[0]
    assert shown("what?.yaml") == "what?.yaml"
    text = "line 3: name: 's3://AKIA:SECRET@bucket/x', expected"
    assert shown_words(text) == "line 3: name: 's3://...', expected"


def pasted(draw: random.Random) -> str:
    """A URI with MARK in its secret part, in one of the forms that people paste."""
    pieces = ["", "/", "+", "=", "/+", ":", "%2F", "//", "_"]
    secret = f"{draw.choice(pieces)}{MARK}{draw.choice(pieces)}"
    key = draw.choice(["AKIAIOSFODNN7EXAMPLE", "user", "a.b", "k-1"])
    host = draw.choice(["bucket", "bucket/releases", "host:9000/b/x.ckpt", "my.bucket/a/b/"])
    at = draw.choice(["@", "@", "@", "%40"])
    colon = draw.choice([":", ":", ":", "%3A"])
    scheme = draw.choice(["s3://", "S3://", "s3:/", "https://", "http://", "ftp://", "gs://", ""])
    form = draw.randrange(4)
    if form == 0 and scheme.lower() == "s3://":
        return f"{scheme}{key}:{MARK}"
    if form == 1 and scheme.startswith("http"):
        query = draw.choice(["X-Amz-Signature", "token", "AWSAccessKeyId", "sig"])
        return f"{scheme}host/x.ckpt?a=1&{query}={MARK}"
    return f"{scheme}{key}{colon}{secret}{at}{host}"


def whole_text(error: BaseException | None) -> str:
    """Everything that a log with a traceback would print of it."""
    texts = []
    while error is not None:
        texts.append(f"{error}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text
    logging.getLogger().removeHandler(handler)


def entries(workspace: Workspace) -> dict[str, Callable[[str], Any]]:
    """Every way in for a URI, a name or a path."""
    releases = str(workspace.releases)
    cache = workspace.root / "weights"
    finetune = load_recipe("finetune", {"data.path": "."}).model_dump(mode="json")

    def recipe_with(section: str, key: str, text: Any) -> Any:
        data = {**finetune, section: {**finetune[section], key: text}}
        return parse_recipe(data, "mine.yaml")

    def broken_file(text: str) -> Any:
        path = workspace.root / "mine.yaml"
        path.write_text(f"weights:\n  name: {text}\n bad: [\n")
        try:
            return read_recipe(str(path))
        finally:
            path.unlink()

    return {
        "open_storage": open_storage,
        "open_object": open_object,
        "releases_uri": lambda text: releases_uri(workspace, text),
        "find_release": lambda text: find_release(text, releases),
        "find_release below": lambda text: find_release("mine", text),
        "fetch_weights": lambda text: fetch_weights(
            text, cache=cache, releases_uri=releases, attempts=1
        ),
        "read_release": read_release,
        "list_releases": list_releases,
        "check_url": check_url,
        "check_served": lambda text: check_served(text) if "host" not in text else None,
        "transfer": lambda text: (
            transfer(text, workspace.root / "t", attempts=1) if "host" not in text else None
        ),
        "check_publish": lambda text: (result := check_publish(text)) and str(result),
        "--weights": lambda text: adjusted_recipe("digits", weights=text, releases=releases),
        "--data": lambda text: adjusted_recipe("finetune", data=text),
        "--set": lambda text: parse_settings([text]),
        "--set of weights": lambda text: load_recipe("digits", {"weights.name": text}),
        "--set of a key": lambda text: load_recipe("digits", {text: 1}),
        "replaces": lambda text: recipe_with("acceptance", "replaces", text),
        "val_labels": lambda text: recipe_with("data", "val_labels", text),
        "another type": lambda text: recipe_with("weights", "name", [text]),
        "no section": lambda text: parse_recipe({**finetune, "weights": text}, "mine.yaml"),
        "unknown key": lambda text: parse_recipe({**finetune, text: 1}, "mine.yaml"),
        "broken file": broken_file,
        "recipe": load_recipe,
        "workspace": open_workspace,
        "run": lambda text: open_run(load_recipe("digits"), workspace, text),
        "existing run": lambda text: existing_run(workspace, text),
        "evaluate": lambda text: evaluate_file(Path(text), workspace=workspace, data="."),
    }


def test_no_way_in_prints_or_writes_a_secret(tmp_path: Path, said: io.StringIO) -> None:
    draw = random.Random(7)
    workspace = Workspace(tmp_path)
    ways = entries(workspace)
    for _ in range(60):
        text = pasted(draw)
        for name, way in ways.items():
            if name in ("check_served", "transfer") and "?" in text:
                # Would go out.
                continue
            try:
                result = way(text)
                # What succeeds gives values back to who gave them; a check is for people.
                answered = str(result) if name == "check_publish" else ""
            except MixnetError as error:
                answered = whole_text(error)
            assert MARK not in answered, (name, text)
    assert MARK not in said.getvalue()
    for path in tmp_path.rglob("*"):
        assert MARK not in str(path)
        assert not path.is_file() or MARK.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "digits", f"--weights=s3://AKIA:{MARK}@bucket"),
        ("run", "digits", f"--publish-to=s3://AKIA:{MARK}@bucket"),
        ("run", "digits", "--set", f"weights.name=s3://AKIA:{MARK}@bucket"),
        ("run", f"s3://AKIA:{MARK}@bucket"),
        ("check", "finetune", "--data", f"s3://AKIA:{MARK}@bucket"),
        ("releases", "--publish-to", f"AKIA:{MARK}@bucket", "--json"),
        ("evaluate", f"s3://AKIA:{MARK}@bucket/w.ckpt", "--data=."),
        ("releases", f"s3://AKIA:{MARK}@bucket"),
        ("recipe", "show", "digits", f"--set=weights.name=s3://AKIA:{MARK}@b"),
    ],
)
def test_the_command_refuses_a_secret_in_one_line(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = mixnet(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert MARK not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert "must not hold credentials" in line
    assert list(tmp_path.iterdir()) == []


# What may hold what a user typed; canonical ones, as of an opened storage, hold no secret.
TYPED = {"uri", "url", "name_or_uri", "name_or_path", "releases_uri", "publish_to"}


# These are given an opened storage's own URI, or quote what was looked up and found.
KNOWN = {
    ("mixnet_core/storage_s3.py", "uri"),
    ("mixnet_core/release/manifest.py", "uri"),
    ("mixnet_core/release/catalog.py", "name_or_uri"),
    ("mixnet_core/recipe.py", "name_or_path"),
}


def test_no_message_quotes_what_was_typed_without_hiding_secrets() -> None:
    found = set()
    for path in [*ROOT.glob("mixnet_core/**/*.py"), *ROOT.glob("flows/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            value = node.value if isinstance(node, ast.FormattedValue) else None
            if isinstance(value, ast.Name) and value.id in TYPED:
                found.add((str(path.relative_to(ROOT)), value.id))
    assert found == KNOWN
