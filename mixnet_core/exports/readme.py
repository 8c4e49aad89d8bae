"""The README of a folder of exports: what each file is, how it is loaded, what was proven."""

from __future__ import annotations

from collections.abc import Sequence

from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.snippet import NEEDS, snippet
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.runs.export_values import ExportProof
from mixnet_core.runs.markup import literal


def readme(item: Exportable, proofs: Sequence[ExportProof]) -> str:
    """Returns Markdown."""
    given, network = item.recipe.input, item.recipe.network
    channels = network.in_channels
    lines = [
        f"# {item.name}, exported",
        "",
        f"MixNet-{network.variant.upper()} ({network.flavour}), {item.width:,} classes, weights "
        f"sha256 `{item.sha256}`.",
        "",
        f"Images: {'RGB' if channels == 3 else 'grey'}, the shorter side resized to "
        f"{item.recipe.short_side} pixels ({given.interpolation}), the middle {given.image_size} x "
        f"{given.image_size} taken. Normalised is (pixel - mean) / std with pixels 0 to 255, mean "
        f"{list(given.mean[:channels])}, std {list(given.std[:channels])}.",
        "",
        "| format | files | what | images | other top-1 | largest logit difference | img/s | by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    there = [proof for proof in proofs if proof.state != "refused"]
    for proof in there:
        names = " ".join(f"`{file.name}`" for file in proof.files.values())
        figures = (
            ("not proven: images were not here", "", "", "")
            if proof.state == "unproven"
            else (
                f"{proof.images:,}",
                f"{proof.differing:,}",
                f"{proof.largest_difference:.2g}",
                f"{proof.images_per_second:,.0f}",
            )
        )
        row = (proof.format, names, FORMATS.load(proof.format).title, *figures, proof.runtime)
        lines.append(f"| {' | '.join(row)} |")
    for proof in there:
        if proof.quantised is not None:
            lines += ["", f"{literal(proof.line)}."]
    refused = [proof for proof in proofs if proof.state == "refused"]
    lines += ["", *(f"Not here: {literal(proof.line)}." for proof in refused)]
    lines += ["", "`exports.json` has all figures.", ""]
    onnx = plain_onnx(there)
    if onnx is not None:
        lines += [
            f"Classify a picture with nothing else installed (`{NEEDS}`):",
            "",
            "```python",
            *snippet(onnx).splitlines(),
            "```",
            "",
            "It takes a binary PPM of eight bits, as `djpeg -rgb` and `magick X -depth 8 X.ppm` "
            "write it, and any picture once Pillow is installed too. It resizes as OpenCV does, by "
            "which the figures above are, up to one grey level.",
            "",
        ]
    return "\n".join(lines)


def plain_onnx(proofs: Sequence[ExportProof]) -> str | None:
    """Returns the name of the ONNX file that `snippet` is for; None where there is none."""
    names = (
        proof.files[role].name
        for role in ("onnx", "onnx_int8")
        for proof in proofs
        if role in proof.files
    )
    return next(names, None)
