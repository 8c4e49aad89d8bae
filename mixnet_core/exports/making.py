"""Writes and proves exports: a job for the reference's logits, then one for each format.

A format whose job fails, by an error or by a crash of its runtime, is refused with the reason; the
others go on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixnet_core.errors import InputError, IntegrityError, MixnetError
from mixnet_core.evaluate.job import patience_of, threads_of
from mixnet_core.exports.export_format import ExportFormat
from mixnet_core.exports.exportable import Exportable
from mixnet_core.exports.request import (
    ExportRequest,
    ExportResult,
    Images,
    ReferenceRequest,
    ReferenceResult,
)
from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.processes.launch import run_job
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.recipe.sections import Network
from mixnet_core.runs.export_values import ExportProof
from mixnet_core.runs.ticks import Tick, Watch
from mixnet_core.storage.asides import held_aside
from mixnet_core.storage.files import os_errors_explained, sha256_of, write_json

PROOFS = "exports.json"


@dataclass(frozen=True)
class Wanted:
    """Says what is asked for.

    Attributes:
        formats: names, none twice.
        most_drop: percentage points of top-1 that eight bits may lose.
        calibration_images: training images that they are calibrated on, at most.
    """

    formats: tuple[str, ...]
    most_drop: float
    calibration_images: int


def format_names(given: Sequence[str]) -> tuple[str, ...]:
    """Takes names as people type them, `onnx-int8` too; each once, in their order.

    Raises:
        InputError: there is no such format.
    """
    found = []
    for typed in given:
        name = typed.strip().replace("-", "_")
        if name not in FORMATS.names():
            known = [each.replace("_", "-") for each in FORMATS.names()]
            raise InputError(
                f"no format {typed!r}{did_you_mean(typed, known)}: expected one of "
                f"{', '.join(known)}"
            )
        found.append(name)
    return tuple(dict.fromkeys(found))


def require_formats(name: str, network: Network, formats: Sequence[str]) -> None:
    """Makes sure, before the work, that each format is possible for a network, on this machine.

    Args:
        name: what to call the network.

    Raises:
        InputError: this network has no such form.
        MachineError: a package is missing.
    """
    for typed in formats:
        kind: ExportFormat = FORMATS.load(typed)
        kind.check(name, network)
        kind.require(typed)


def make_exports(
    item: Exportable,
    wanted: Wanted,
    folder: Path,
    *,
    images: Images | None,
    attempts: Path,
    keep_open: tuple[int, ...] = (),
    watch: Watch,
) -> tuple[ExportProof, ...]:
    """Writes the formats into a folder that is aside, and the proofs of all as PROOFS.

    Args:
        images: None: nothing is proven.
        attempts: folder for the jobs' requests and logs.

    Raises:
        MixnetError: as the reference's job; a format's own failure is its refusal.
    """
    with os_errors_explained(attempts):
        attempts.mkdir(parents=True, exist_ok=True)
    threads = threads_of(item.recipe, 1)
    with held_aside(attempts) as own:

        def run(module: str, request: Any, detail: str) -> dict[str, Any]:
            def tell(row: dict[str, Any]) -> None:
                watch(Tick("export", row["done"], row["total"], "img", detail=detail))

            return run_job(
                module,
                request,
                attempts=attempts,
                threads=threads,
                progress=Path(request.progress),
                on_progress=tell,
                keep_open=(*keep_open, own.handle),
                patience=patience_of(item.recipe),
            )

        target, engine = own.path / "reference.npy", ""
        if images is not None:
            asked = ReferenceRequest(
                item=item,
                images=images,
                target=str(target),
                threads=threads,
                progress=str(own.path / "reference.jsonl"),
            )
            found = run("mixnet_core.exports.reference", asked, "reference")
            engine = ReferenceResult.model_validate(found).engine
        proofs = []
        for name in wanted.formats:
            request = ExportRequest(
                item=item,
                format=name,
                folder=str(own.path / name),
                images=images,
                reference=str(target) if images is not None else "",
                engine=engine,
                threads=threads,
                most_drop=wanted.most_drop,
                calibration_images=wanted.calibration_images,
                progress=str(own.path / f"{name}.jsonl"),
            )
            Path(request.folder).mkdir()
            proofs.append(_made(name, request, run, folder))
    write_json(folder / PROOFS, {"exports": [proof.model_dump(mode="json") for proof in proofs]})
    return tuple(proofs)


def _made(
    name: str,
    request: ExportRequest,
    run: Callable[[str, Any, str], dict[str, Any]],
    folder: Path,
) -> ExportProof:
    """Makes one format; moves its files to the folder unless it is refused."""
    try:
        proof = ExportResult.model_validate(run("mixnet_core.exports", request, name)).proof
    except MixnetError as error:
        return ExportProof(format=name, state="refused", reason=str(error))
    if proof.state == "refused":
        return proof.model_copy(update={"files": {}})
    for file in proof.files.values():
        with os_errors_explained(folder / file.name):
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            # Not by renaming alone: the workspace may be on another disk.
            shutil.move(Path(request.folder) / file.name, folder / file.name)
            # safetensors writes files for their owner alone.
            (folder / file.name).chmod(0o644)
        if sha256_of(folder / file.name) != file.sha256:
            raise IntegrityError(
                f"what was written to {folder / file.name} is not what was proven: check the disk"
            )
    return proof
