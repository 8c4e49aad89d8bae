"""What of a URI may be shown: whatever quotes one asks here, and none with a secret is used.

Credentials never belong into a URI here: storage takes them from boto3's chain, and what is typed
ends up in recipes, records, logs and a flow's parameters. People paste them all the same, in any
form: s3://KEY:SECRET@bucket, s3:/KEY:SECRET@bucket, KEY:SECRET@bucket, https://user:password@host,
a presigned URL with its signature behind a question mark. A key may hold any of / + = and :.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mixnet_core.errors import InputError

# s3:// and, once pathlib had it, s3:/
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]*[a-z0-9]")
_AT = re.compile(r"@|%40")
_COLON = re.compile(r":|%3[Aa]")
_SIGNED = re.compile(r"\?.*=", re.DOTALL)
# A presigned URL's, of S3, Google's and Azure's storage, and what else is called so.
_SIGNATURE = re.compile(
    r"[?&#](x-(amz|goog)-\w[\w-]*|awsaccesskeyid|signature|sig|(access_?)?token|password|key)=",
    re.IGNORECASE,
)
# A word of a text that may be a URI: quotes and brackets stand around, not in it.
_WORD = re.compile(r"[^\s'\"<>()\[\]{},;]+")


def holds_credentials(text: str) -> bool:
    """Says whether a URI, a name or a path looks as if user or password stood in it."""
    text = text.strip()
    if any(letter.isspace() for letter in text):
        # A sentence, as of why a release is published anyway.
        return False
    scheme, rest = _parts(text)
    if scheme == "file" or (scheme is None and text.startswith(("/", "./", "../", "~"))):
        return False
    at = _AT.search(rest)
    if scheme == "s3":
        bucket = rest.partition("/")[0]
        return bool(
            _COLON.search(bucket)
            or _AT.search(bucket)
            or (at and (_COLON.search(rest[: at.start()]) or not _BUCKET.fullmatch(bucket)))
        )
    before = rest[: at.start()] if at else ""
    if scheme is not None:
        # A password with a slash ends the host for whoever reads the URL strictly, not for people.
        return at is not None and ("/" not in before or bool(_COLON.search(before)))
    return bool(_COLON.search(before))


def shown(text: str) -> str:
    """Returns a URI, a name or a path without what may be secret."""
    scheme, _ = _parts(text)
    if holds_credentials(text):
        return f"{scheme}://..." if scheme else "..."
    if scheme not in (None, "file"):
        return text.partition("?")[0].partition("#")[0]
    return _SIGNED.split(text)[0] if scheme is None else text


def shown_words(text: str) -> str:
    """Returns a longer text with each word in it `shown`."""
    return _WORD.sub(lambda word: shown(word[0]), text)


def shown_value(value: Any) -> str:
    """Returns a value of a YAML file as Python writes it, with every text in it `shown`."""
    return repr(_hidden(value))


def refuse_credentials(*texts: object) -> None:
    """Refuses what would be written down and shown to others.

    Args:
        texts: what a user gave; what is no text is passed over.

    Raises:
        InputError: one of them holds credentials; it is not quoted.
    """
    for text in texts:
        if isinstance(text, str) and (holds_credentials(text) or _SIGNATURE.search(text)):
            kind = "an s3:// URI" if _parts(text)[0] == "s3" else f"{shown(text)!r}"
            raise InputError(
                f"{kind} must not hold credentials: expected s3://bucket/prefix, a path or "
                "https://host/file, with credentials in the environment or in a profile"
            )


def _parts(text: str) -> tuple[str | None, str]:
    """Splits off the scheme, in small letters."""
    found = _SCHEME.match(text)
    if found is None:
        return None, text
    return found[1].lower(), text[found.end() :].lstrip("/")


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return shown_words(value)
    if isinstance(value, Mapping):
        return {_hidden(key): _hidden(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_hidden(inner) for inner in value)
    return value
