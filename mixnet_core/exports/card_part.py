"""What a release's card says of its exports: what was proven of each, and how one is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mixnet_core.exports.readme import plain_onnx
from mixnet_core.exports.snippet import NEEDS, snippet
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.runs.export_values import ExportProof
from mixnet_core.runs.markup import literal

_HEADER = ("format", "file", "by", "images", "other top-1", "largest logit difference", "img/s")


def card_part(proofs: Sequence[ExportProof], names: Mapping[str, str]) -> str:
    """Returns Markdown; "" where no export is published.

    Args:
        names: role -> name of its file in the release's folder.
    """
    there = [proof for proof in proofs if proof.state == "proven"]
    if not there:
        return ""
    lines = [
        "Each file was loaded again by the runtime beside it and predicted the val images as the "
        "release does; what differed stands here.",
        "",
        f"| {' | '.join(_HEADER)} |",
        f"|{'---|' * len(_HEADER)}",
    ]
    for proof in there:
        files = " ".join(f"`{names[role]}`" for role in proof.files if role in names)
        figures = (
            f"{proof.images:,}",
            f"{proof.differing:,}",
            f"{proof.largest_difference:.2g}",
            f"{proof.images_per_second:,.0f}",
        )
        row = (FORMATS.load(proof.format).title, files, proof.runtime, *figures)
        lines.append(f"| {' | '.join(row)} |")
    for proof in there:
        kind = FORMATS.load(proof.format)
        if kind.tool and kind.files.keys() <= names.keys():
            copies = [f"`{names[role]}` as `{name}`" for role, name in kind.files.items()]
            lines += ["", f"The tools of {kind.tool} look for {' and '.join(copies)}: copy them."]
    for proof in there:
        if proof.quantised is not None:
            lines += ["", f"{literal(proof.line)}."]
    role = next((role for role in ("onnx", "onnx_int8") if role in names), None)
    if plain_onnx(there) is not None and role is not None:
        lines += [
            "",
            f"Classify a picture, its path being the one argument (`{NEEDS}` is enough for a "
            "binary PPM, `pip install pillow` too for all else):",
            "",
            "```python",
            *snippet(names[role]).splitlines(),
            "```",
        ]
    return "\n".join(lines)
