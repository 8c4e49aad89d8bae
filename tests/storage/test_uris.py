"""What of a URI is a secret, what is shown of it, and that every message asks."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from mixnet_core.errors import InputError
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.uris import (
    holds_credentials,
    refuse_arguments,
    refuse_credentials,
    shown,
    shown_value,
    shown_words,
)

ROOT = Path(__file__).parents[2]
KEY = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAKEY:SECRET@bucket",
        "s3://AKIAKEY:SECRET@bucket/a/b",
        "S3://AKIAKEY:SECRET@bucket",
        "s3:/AKIAKEY:SECRET@bucket",
        "s3:AKIAKEY:SECRET@bucket",
        "s3//AKIAKEY:SECRET@bucket",
        "s3:///AKIAKEY:SECRET@bucket",
        "s3:\\\\AKIAKEY:SECRET@bucket",
        "s3a://AKIAKEY:SECRET@bucket",
        "s3://AKIAKEY:SE/CR+ET@bucket/prefix",
        "s3://AKIAKEY/SECRET@bucket",
        "s3://AKIAKEY:SECRET",
        "s3://bucket:SECRET",
        f"s3://{KEY}/SECRET",
        f"s3://{KEY}/SECRET/bucket",
        "s3://AKIAKEY%3ASECRET%40bucket",
        "s3://AKIAKEY%253ASECRET%2540bucket",
        "s3://AKIAKEY:SECRET\uff20bucket",
        "\ufeffs3\u200b://AKIAKEY:SECRET@bucket",
        " s3://AKIAKEY:SECRET@bucket\n",
        '"s3://AKIAKEY:SECRET@bucket"',
        "<s3://AKIAKEY:SECRET@bucket>",
        "s3://AKIAKEY:SEC RET SECRET@bucket",
        "s3://AKIAKEY :SECRET@bucket",
        "s3://AKIAKEY:SECRET@bucket two",
        "AKIAKEY:SECRET@bucket",
        "AKIAKEY:SE/CRET@bucket/prefix",
        "AKIAKEY:/SE/CRET@bucket/prefix",
        "//AKIAKEY:SECRET@bucket",
        f"{KEY}:SECRET",
        f"{KEY}:SECRET/bucket",
        f"/{KEY}:SECRET@bucket",
        "minioadmin0123456789:SECRETabcdefghijklmnopqrstuvwxyz0123456",
        "aws_secret_access_key=SECRET",
        "AccountName=a;AccountKey=b; AccountKey=SECRET",
        # As pathlib leaves it.
        "/home/me/s3:/AKIAKEY:SECRET@bucket/w.ckpt",
        "./s3:/AKIAKEY:SECRET@bucket",
        "file:///home/me/s3:/AKIAKEY:SECRET@bucket",
        "/home/me/https:/user:SECRET@host",
        "file://user:SECRET@host/a",
        "https://user:SECRET@host/file.ckpt",
        "https://user:SE/CRET@host/file.ckpt",
        "https://user:SE?CRET@host/file.ckpt",
        "https://SECRET@host/file.ckpt",
        "https://host\\@user:SECRET@other/file.ckpt",
        "HTTPS:/user:SECRET@host/file.ckpt",
        "git+https://user:SECRET@host/file.git",
        "http://user:SECRET@127.0.0.1:9000",
        "they lie at s3://AKIAKEY:SECRET@bucket/x for now",
        "{'weights.name': s3://AKIAKEY:SECRET@bucket}",
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
        "s3://bucket/my.key/secret/token",
        "file:///data/a@b",
        "file:///data/a:b@c",
        "/data/a:b@c",
        "/data/s3/a:b@c",
        "/data/http/x@y",
        "./x:y@z",
        "~/a:b@c",
        "releases/a@b",
        "mixnet_s-910v2",
        "mixnet_s@sha256:0123",
        "C:/Users/x",
        "data/2026-11-27T10:00:00",
        "https://host:8443/a/b.ckpt",
        "https://host/a/b@2x.ckpt",
        "https://[::1]:9000/x",
        "checked by: me@example.com",
        "approved by:me@example.com",
        "it is 10:30, me@example.com",
        "images of s3://bucket/a at 10:30 by me@example.com",
        "the token was lost",
        f"/x/{KEY}",
    ],
)
def test_what_holds_none_is_taken_and_shown_as_it_is(text: str) -> None:
    refuse_credentials(text)
    refuse_arguments([text, f"--data={text}", f"--set=data.path={text}", f"data.path={text}"])
    assert not holds_credentials(text)
    assert shown(text) == text


@pytest.mark.parametrize(
    "query",
    [
        "?X-Amz-Signature=SECRET",
        "?a=1&X-Amz-Credential=SECRET",
        "?sv=2026&sig=SECRET",
        "?private_token=SECRET",
        "?AWS_SECRET_ACCESS_KEY=SECRET",
        "?Policy=SECRET&Key-Pair-Id=K",
        "?p=SECRET0abcdefghijKLMNOP",
        "?SECRET0abcdefghijKLMNOP",
        "#access_token=SECRET",
        ";jsessionid=SECRET",
        "%3FX-Amz-Signature%3DSECRET",
        "?jwt=eyJSECRET.eyJ9.x",
    ],
)
def test_a_signature_in_a_url_is_refused_where_it_would_be_kept_and_never_shown(query: str) -> None:
    for url in (f"https://h/f.ckpt{query}", f"s3://bucket/f{query}"):
        with pytest.raises(InputError, match="must not hold credentials") as error:
            refuse_credentials(url)
        assert "SECRET" not in str(error.value) + shown(url) + shown_words(f"at {url}: no")


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE/20261127/us-east-1/s3&X-Amz-Signature=SECRET",
        "X-Goog-Credential=me%40project.iam%2F2026&a=b%3Ac&X-Goog-Signature=SECRET",
        "st=2026-01-01T00%3A00%3A00Z&rscd=a@b&sig=SECRET",
    ],
)
def test_a_server_may_redirect_to_a_signed_url(query: str) -> None:
    url = f"https://storage.example.com/bucket/f.ckpt?{query}"
    assert not holds_credentials(url)
    assert shown(url) == "https://storage.example.com/bucket/f.ckpt"


def test_a_query_without_secrets_is_taken_and_not_shown() -> None:
    url = "https://host/record/files/mixnet_s-2f5f8b1e.ckpt?download=1"
    refuse_credentials(url)
    assert shown(url) == url.partition("?")[0]
    assert shown("h/f.ckpt?AWSAccessKeyId=SECRET&a=b") == "h/f.ckpt"
    assert shown("what?.yaml") == "what?.yaml"


def test_longer_texts_and_values_hide_their_words() -> None:
    text = "line 3: name: 's3://AKIA:SECRET@bucket/x', expected"
    assert shown_words(text) == "line 3: name: 's3://...', expected"
    value = {"s3://K:SECRET@b": ["K:SECRET@b", "s3://K:SEC RET SECRET@b", 5, None]}
    assert shown_value(value) == "{'s3://...': ['...', 's3://...', 5, None]}"
    with pytest.raises(InputError, match="a name, path or URI must not"):
        refuse_credentials(3, None, {"a": [{"b": ("K:SECRET@b",)}]})


# What a message may not quote as it was typed.
TYPED = {
    "uri", "url", "name_or_uri", "name_or_path", "registry", "publish_to", "releases", "to",
    "replaces", "notify", "location", "argument", "users", "proxy",
}  # fmt: skip
# Opened storages have refused what holds a secret, and their own URI has no other form.
OPENED = {
    ("mixnet_core/release/catalog.py", "open_storage(registry).uri"),
    ("mixnet_core/release/publish.py", "storage.uri"),
    ("mixnet_core/release/publish.py", "published.uri"),
    ("mixnet_core/release/registry.py", "storage.uri"),
    ("mixnet_core/release/start.py", "release.uri"),
    ("mixnet_core/release/unnamed.py", "storage.uri"),
    ("mixnet_core/release/weights.py", "release.uri"),
    ("mixnet_core/stages/release_to_measure.py", "release.uri"),
    ("mixnet_core/revalidation/history.py", "storage.uri"),
    ("mixnet_core/storage/schemes/s3.py", "self.uri"),
    ("mixnet_core/storage/s3/answers.py", "uri"),
    ("mixnet_core/storage/s3/endpoint.py", "uri"),
    ("mixnet_core/storage/trial.py", "storage.uri"),
    ("mixnet_core/runs/summaries.py", "value.uri"),
    ("mixnet_core/cli/releases.py", "open_storage(uri).uri"),
    ("mixnet_core/cli/shown_releases.py", "release.uri"),
    ("mixnet_core/stages/comparison.py", "open_storage(release.uri).uri"),
    ("mixnet_core/revalidation/statements.py", "storage.uri"),
    ("mixnet_core/release/deletion.py", "storage.uri"),
    ("mixnet_core/release/signing.py", "storage.uri"),
    ("mixnet_core/release/standing.py", "storage.uri"),
    ("mixnet_core/release/views.py", "storage.uri"),
    ("mixnet_core/data/prepared_copy.py", "storage.uri"),
    ("mixnet_core/data/sources/prepared.py", "storage.uri"),
    ("mixnet_core/storage/mirror/mirror.py", "objects.uri"),
    ("mixnet_core/storage/mirror/one_object.py", "objects.uri"),
    # Of a release that was read: `shown_uri`.
    ("mixnet_core/release/catalog.py", "uri"),
    ("flows/mixnet_flows/demo.py", "release.uri"),
    ("flows/mixnet_flows/showing.py", "release.uri"),
}
OTHERS = {
    # No message: a path, or the URI of a name that was found.
    ("mixnet_core/release/catalog.py", "name_or_uri"): 1,
    ("mixnet_core/recipe/recipe.py", "name_or_path"): 1,
    ("mixnet_core/revalidation/all_releases.py", "registry"): 1,
    # By then it is a block's name.
    ("flows/mixnet_flows/alarm.py", "notify"): 1,
    # Made of a host and a port, without its password.
    ("flows/mixnet_flows/infra/serve.py", "server.url"): 2,
    ("flows/mixnet_flows/infra/server.py", "self.url"): 2,
    # A bucket that `make serve` named, a folder of the workspace, and what was said of them.
    ("flows/mixnet_flows/infra/serve.py", "found.registry"): 1,
    ("flows/mixnet_flows/infra/serve.py", "workspace.releases"): 1,
    ("flows/mixnet_flows/infra/serve.py", "releases"): 1,
}


def quoted(tree: ast.AST) -> list[str]:
    """What f-strings and lines of a log have of TYPED, as the source has it."""
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue):
            found.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_log = node.func.attr in ("debug", "info", "warning", "error", "exception", "format")
            found += node.args if is_log else []
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            right = node.right
            found += right.elts if isinstance(right, ast.Tuple) else [right]
    last = [(value, getattr(value, "attr", getattr(value, "id", None))) for value in found]
    return [ast.unparse(value) for value, name in last if name in TYPED]


def test_no_message_quotes_what_was_typed_without_hiding_secrets() -> None:
    found: Counter[tuple[str, str]] = Counter()
    for path in [*ROOT.glob("mixnet_core/**/*.py"), *ROOT.glob("flows/**/*.py")]:
        name = str(path.relative_to(ROOT))
        found.update((name, source) for source in quoted(ast.parse(path.read_text())))
    unexplained = {key: count for key, count in found.items() if key not in OPENED}
    assert unexplained == OTHERS, "quote it through uris.shown, or say here why it holds no secret"
    assert found.keys() >= OPENED, "leave out what is quoted no more"
