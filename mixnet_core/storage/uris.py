"""Secrets in URIs: whoever quotes a URI asks here what may be shown; none with a secret is used.

Credentials never belong into a URI here: storage takes them from boto3's chain, and what is typed
ends up in recipes, records, logs and a flow's parameters. People paste them all the same, in any
form: s3://KEY:SECRET@bucket, s3:/KEY:SECRET@bucket, KEY:SECRET@bucket, KEY:SECRET, the same within
a path once pathlib had it, https://user:password@host, percent-encoded once or twice, a presigned
URL with its signature behind a question mark. A key may hold any of / + = and :.

Where a text can be read both ways, a path stays a path: /data/a:b@c, ./a@b and releases/a@b are
ones. A word that is nothing but a secret cannot be told from a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from mixnet_core.errors import InputError

# s3:// and, once pathlib had it, s3:/
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
# Schemes of what is reached over a network, at the beginning or within a path. Without its colon
# too, a slip that the eye passes over.
_NETWORK = re.compile(
    r"(?<![A-Za-z0-9])((?:\w+\+)?(?:s3[an]?|https?|ftps?|sftp|ssh|git|gc?s|az|azure|abfss?|wasbs?"
    r"|hdfs|oss|obs|webdavs?)(?:\+\w+)?)(?::/+|//|:(?=[^/\s@]*:[^\s@]*@)|(?<=s3):(?=[^/@]*:[^@]*@))/*",
    re.IGNORECASE,
)
_FILES_HOST = re.compile(r"(?<![A-Za-z0-9])file:/{1,2}([^/].*)", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]*[a-z0-9]")
# Whatever stands behind its question mark is not the user's part.
_PLAIN_HOST = re.compile(r"(https?:/+[\w.-]+(?::\d+)?/[^?@]*)\?", re.IGNORECASE)
_SIGNED = re.compile(r"\?.*=", re.DOTALL)
# Amazon's ids of keys by their first letters, any other's by how long both halves are. A port is
# no key.
_KEY_PAIR = re.compile(
    r"\bA(?:KIA|SIA|BIA|CCA|IDA|ROA)[A-Z0-9]{12,}\s*[:/]\s*[^\s/]"
    r"|\b[A-Za-z0-9]{16,}:(?!\d{2,5}/)[A-Za-z0-9/+=]{30,}"
)
_SECRETS_NAME = (
    r"[\w.-]*(?:secret|token|passw(?:or)?d|passphrase|signature|credential|jsessionid"
    r"|(?:access|account|api|private)[-_]?key)[\w.-]*"
)
# A presigned URL's, of S3, Google's, Azure's and CloudFront's, and what else is called so.
_SIGNATURE = re.compile(
    rf"[?&#](?:{_SECRETS_NAME}|x-(?:amz|goog)-\w[\w-]*|sig|sas|key|pass|pwd|auth|authorization|jwt"
    r"|policy|key-pair-id)="
    rf"|;(?:{_SECRETS_NAME}|sig)=",
    re.IGNORECASE,
)
# As ~/.aws/credentials and connection strings have it.
_ASSIGNED = re.compile(rf"(?:^|\s){_SECRETS_NAME}\s*=\s*[^\s=]{{6,}}", re.IGNORECASE)
# A long value of all kinds of letters, or a JSON web token.
_OPAQUE = re.compile(
    r"[?&#](?:[\w.-]+=)?(?:eyJ[\w-]+\.|(?=[^&#.]*\d)(?=[^&#.]*[A-Z])(?=[^&#.]*[a-z])"
    r"[A-Za-z0-9+/=_~%-]{20,}(?:[&#;\s]|$))"
)
_SPACED = re.compile(r"[^\s@]*(?:\s?:\s|\s:)[^\s@]+\s?@|[^\s@]*:[^\s@]+\s@")
# In a sentence, where "approved by:me@example.com" is none.
_LONG_PASSWORD = re.compile(r"^(?://)?[^:@/]+:[^@]{16,}@")
# A word of a text that may be a URI: quotes and brackets stand around, not in it.
_WORD = re.compile(r"[^\s'\"<>()\[\]{},;]+")
# What stands before a value, as in --data=/a:b@c and --set=data.path=/a:b@c: these are paths.
_OPTION = re.compile(r"^(?:--?[a-z][a-z-]*=)?(?:[a-z_]+(?:\.[a-z_]+)+=)?")
# Copied along with a link, and seen by nobody.
_INVISIBLE = {ord(letter): None for letter in "\u200b\u200c\u200d\u2060\ufeff\u00ad"}
_AROUND = " \t\r\n\"'`<>()[]{},"
# Of letters that are encoded, encoded again, and once more.
_DECODINGS = 3


def holds_credentials(text: str) -> bool:
    """Says whether a URI, a name, a path or a sentence looks as if user or password stood in it.

    A signature in a URL's query is not looked for: a server may redirect to such a URL.
    """
    text = _cleaned(_without_query(text))
    if any(_KEY_PAIR.search(form) or _ASSIGNED.search(form) for form in _decoded(text)):
        return True
    if len(text.split()) > 1 and not _NETWORK.match(text):
        # A sentence, as of why a release is published anyway.
        words = [form for word in _WORD.findall(text) for form in _decoded(word)]
        return _spaced(text) or any(_in_network(w) or _LONG_PASSWORD.match(w) for w in words)
    return any(_holds(form) for form in _decoded(text))


def shown(text: str) -> str:
    """Returns a URI, a name or a path without what may be secret."""
    scheme = _scheme(text)
    network = _NETWORK.match(text)
    hidden = f"{network[1].lower()}://..." if network else "..."
    if holds_credentials(text):
        return hidden
    if scheme is None:
        bare = _SIGNED.split(text)[0]
    else:
        bare = text if scheme == "file" else text.partition("?")[0].partition("#")[0]
    return hidden if _holds_signature(bare) else bare


def shown_words(text: str) -> str:
    """Returns a longer text on one line, with each word in it `shown`."""
    text = " ".join(text.split()) if "\n" in text or "\r" in text else text
    cleaned = _cleaned(text)
    # Of a secret with a space in it the second half would be a word like any other.
    if (_NETWORK.match(cleaned) and holds_credentials(text)) or _spaced(cleaned):
        return shown(cleaned)
    return _WORD.sub(lambda word: shown(word[0]), text)


def shown_value(value: Any) -> str:
    """Returns a value of a YAML file as Python writes it, with every text in it `shown`."""
    return repr(_hidden(value))


def shown_key(parts: Iterable[object]) -> str:
    """Returns where in a document something stands, dotted: an unknown key may be anything."""
    return ".".join(shown_words(str(part)) for part in parts)


def refuse_credentials(*texts: object) -> None:
    """Refuses what would be written down and shown to others.

    Args:
        texts: what a user gave, keys and values of mappings and lists too; what else is no text is
            passed over.

    Raises:
        InputError: one of them holds credentials; it is not quoted.
    """
    for text in texts:
        if isinstance(text, Mapping):
            refuse_credentials(*text, *text.values())
        elif isinstance(text, list | tuple):
            refuse_credentials(*text)
        elif isinstance(text, str) and (holds_credentials(text) or _holds_signature(text)):
            quoted = shown(text)
            kind = "a name, path or URI" if quoted == "..." else repr(quoted)
            kind = "an s3:// URI" if quoted.startswith("s3://") else kind
            raise InputError(
                f"{kind} must not hold credentials: expected s3://bucket/prefix, a path or "
                "https://host/file, with credentials in the environment or in a profile"
            )


def refuse_arguments(arguments: Iterable[str]) -> None:
    """Refuses credentials on a command line, before a parser of options quotes what it refuses.

    Raises:
        InputError: as `refuse_credentials`.
    """
    for argument in arguments:
        refuse_credentials(_OPTION.sub("", argument))


def _scheme(text: str) -> str | None:
    found = _SCHEME.match(text)
    return found[1].lower() if found else None


def _without_query(text: str) -> str:
    """Leaves out a query in which letters of a user's part are none."""
    found = _PLAIN_HOST.match(text)
    return found[1] if found else text


def _cleaned(text: str) -> str:
    """Makes a text what it looks like."""
    text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE).replace("\\", "/")
    return text.strip(_AROUND)


def _decoded(text: str) -> Iterator[str]:
    """Yields a text, then decoded as often as that changes it."""
    yield text
    for _ in range(_DECODINGS):
        decoded = unquote(text)
        if decoded == text:
            return
        text = decoded
        yield text


def _holds(text: str) -> bool:
    if _in_network(text):
        return True
    if text.startswith("//"):
        return ":" in _before_at(text[2:].partition("/")[0])
    if text.lower().startswith("file:") or text.startswith(("/", "./", "../", "~")):
        return False
    return not _NETWORK.match(text) and ":" in _before_at(text)


def _spaced(text: str) -> bool:
    """Says whether user and password of a URL stand in a sentence as two words."""
    return any(_SPACED.match(text, found.end()) for found in _NETWORK.finditer(text))


def _in_network(text: str) -> bool:
    """Says whether the user's part of a URL stands anywhere in a text."""
    for found in _NETWORK.finditer(text):
        rest = text[found.end() :]
        before, bucket = _before_at(rest), rest.partition("/")[0]
        if found[1].lower().startswith("s3"):
            if ":" in bucket or "@" in bucket:
                return True
            if "@" in rest and (":" in before or not _BUCKET.fullmatch(bucket)):
                return True
        # A password with a slash ends the host for whoever reads the URL strictly, not for people.
        elif "@" in rest and ("/" not in before or ":" in before):
            return True
    # With three slashes all of it is a path, with two the host comes first, and pathlib leaves one.
    return any(":" in _before_at(found[1]) for found in _FILES_HOST.finditer(text))


def _before_at(text: str) -> str:
    return text.rpartition("@")[0]


def _holds_signature(text: str) -> bool:
    is_s3 = _scheme(text.strip(_AROUND)) == "s3"
    is_url = _NETWORK.search(text) is not None
    return any(
        _SIGNATURE.search(form)
        or (is_url and _OPAQUE.search(form))
        # An s3:// URI has no query: what looks like one is what a client took for options.
        or (is_s3 and _SIGNED.search(form))
        for form in _decoded(_cleaned(text))
    )


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return shown_words(value)
    if isinstance(value, Mapping):
        return {_hidden(key): _hidden(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_hidden(inner) for inner in value)
    return value
