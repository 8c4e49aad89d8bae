"""From what a user calls initial weights to where they are.

    a name          of a catalog entry, then of a file here, then of a release in the registry
    a path          a file of weights, or a release's folder, copied or not
    s3://, file://  the folder of a release

What else people write, as the name of a hub or an address of a file, is refused with what it would
need: nothing is downloaded of which nobody said the digest.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mixnet_core.errors import InputError
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.release.catalog import USER_CATALOG, CatalogEntry, find_release, load_catalog
from mixnet_core.release.local_weights import LocalWeights, local_weights
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.release.origin import copied_release
from mixnet_core.release.registry import read_release
from mixnet_core.storage.uris import refuse_credentials, shown

InitialWeights = CatalogEntry | PublishedRelease | LocalWeights

# What people's files of weights end in; most are refused for what they are.
_FILES = """
    .ckpt .safetensors .pth .pt .bin .pkl .h5 .keras .onnx .zip .npz .npy .pdparams .mindir .om
    .tar .gz .tgz .air .pb .tflite .ms
"""
_SUFFIXES = frozenset(_FILES.split())
_HUB = re.compile(
    r"(?:(?:www\.)?(?:huggingface\.co|hf\.co|modelscope\.cn)|hf[-_]hub|hf|huggingface|timm|modelscope|ms|openmind|xihe|wandb|kaggle|torchvision)[:/].+",
    re.IGNORECASE,
)
_OWNER_AND_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w.-]+)?")
_NEAR = 3


def find_initial(name_or_uri: str, registry: str) -> InitialWeights:
    """Finds what training is to start from; nothing is fetched.

    Args:
        name_or_uri: as this module's table has it.
        registry: as `catalog.find_release` takes it.

    Raises:
        InputError: there is no such thing, or it is a hub's name or an address without a digest;
            the message says what it would need.
        IntegrityError, CheckpointMismatch: as `local_weights`.
        MixnetError: as `catalog.find_release`.
    """
    refuse_credentials(name_or_uri, registry)
    entries = load_catalog()
    if name_or_uri in entries:
        return entries[name_or_uri]
    scheme, separator, rest = name_or_uri.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        raise _address(name_or_uri, entries)
    if separator and scheme != "file":
        return find_release(name_or_uri, registry)
    path = Path(unquote(urlsplit(name_or_uri).path) if separator else name_or_uri).expanduser()
    if separator and not rest.startswith("/"):
        return find_release(name_or_uri, registry)
    if path.is_file() or ("/" in name_or_uri and path.is_dir()):
        return _local(path)
    if path.suffix.lower() in _SUFFIXES or name_or_uri.startswith(("./", "../", "~")):
        near = did_you_mean(path.stem, entries, _NEAR)
        raise InputError(
            f"no file at {shown(str(path.absolute()))}{near}: check the path, or give the name of "
            "a release"
        )
    if _HUB.fullmatch(name_or_uri) or _OWNER_AND_NAME.fullmatch(name_or_uri):
        raise _of_hub(name_or_uri, entries)
    return find_release(name_or_uri, registry)


def _local(path: Path) -> InitialWeights:
    """Looks at a path; a release's own folder is a release."""
    path = path.absolute()
    release = copied_release(path) if path.is_dir() else None
    if release is not None and release.name == path.name:
        return read_release(path.as_uri())
    return local_weights(path)


def _address(url: str, entries: dict[str, CatalogEntry]) -> InputError:
    known = [name for name, entry in entries.items() if entry.url == url]
    if known:
        return InputError(f"{shown(url)} is the catalog's {known[0]}: give that name")
    file = PurePosixPath(urlsplit(url).path).name or "weights.ckpt"
    return InputError(
        f"{shown(url)} is an address, of which no digest is known: `mixnet import {shown(url)} "
        f"--sha256 DIGEST` gives it a name, download {shown(file)} and give its path, or the name "
        f"of an entry with its url, sha256, variant and num_classes in a catalog of yours "
        f"({USER_CATALOG})"
    )


def _of_hub(name: str, entries: dict[str, CatalogEntry]) -> InputError:
    *_, owner, model = re.split(r"[/:]", name)
    known = [found for found, entry in entries.items() if f"/{owner}/{model}/" in entry.url]
    if known:
        return InputError(f"{shown(name)} is the catalog's {known[0]}: give that name")
    near = did_you_mean(re.sub(r"^tf_|\..*$", "", model), entries, _NEAR)
    return InputError(
        f"no path {shown(name)!r}, and a hub's names are not looked up{near}: expected a catalog "
        f"entry ({', '.join(sorted(entries))}), a release, or a file .ckpt, .safetensors or .pth; "
        "download it and give its path"
    )
