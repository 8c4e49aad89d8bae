"""The step `export` between accept and publish: files for other runtimes, where a recipe asks."""

from __future__ import annotations

from pathlib import Path

from mixnet_core.exports.exportable import Exportable, on_cpu
from mixnet_core.exports.making import PROOFS, Wanted, make_exports, require_formats
from mixnet_core.exports.request import Images
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.export_values import Exported
from mixnet_core.runs.records import exclusive, finished, forget, write_record
from mixnet_core.runs.values import Decision, PreparedDataset, Validation
from mixnet_core.stages.acceptance import require_accepted, require_decided_on
from mixnet_core.stages.context import Context
from mixnet_core.stages.evidence import evidence
from mixnet_core.stages.made_from import export_inputs
from mixnet_core.storage.files import folder_aside, sha256_of

NOTHING = Exported(folder="", proofs=())


def export(
    context: Context,
    dataset: PreparedDataset,
    validation: Validation,
    decision: Decision,
    release: str | None = None,
) -> Exported:
    """Writes the recipe's formats and proves each on the val images; what fails is left out.

    Args:
        release: name of what is published, which the files say; None: the run's.

    Returns:
        The files that are there, and for each format what was found.

    Raises:
        NotAccepted: the checkpoint is not to be published.
        InputError: the decision is on something else; this network has no such form; the run's
            predictions are another validation's by now.
        MachineError: a package is missing.
        TransientError: another process works on this run.
    """
    recipe, run = context.recipe, context.run
    if not recipe.export.formats:
        return NOTHING
    require_decided_on(decision, recipe.acceptance, validation)
    require_accepted(decision)
    name = release or run.name
    inputs = export_inputs(recipe, dataset, validation, name=name)
    with exclusive(run) as lock:
        done = finished(run, "export", inputs, Exported)
        if done is not None and is_there(done):
            return done
        evidence(run, validation)
        item = Exportable(
            name=name,
            recipe=on_cpu(recipe),
            weights=str(validation.checkpoint.weights),
            sha256=validation.checkpoint.weights_sha256,
            classes=dataset.classes,
            width=len(dataset.classes),
        )
        require_formats(item.name, recipe.network, recipe.export.formats)
        forget(run, "export")
        with folder_aside(run.exports) as aside:
            proofs = make_exports(
                item,
                wanted_of(recipe),
                aside,
                images=Images(
                    dataset=dataset.root, classes=dataset.classes, answers=str(run.predictions)
                ),
                attempts=run.attempts("export"),
                keep_open=(lock,),
                watch=context.watch,
            )
        exported = Exported(
            folder=str(run.exports), proofs=proofs, proofs_sha256=sha256_of(run.exports / PROOFS)
        )
        write_record(run, "export", inputs, exported)
    return exported


def wanted_of(recipe: Recipe) -> Wanted:
    """Returns what a recipe asks for."""
    return Wanted(
        formats=recipe.export.formats,
        most_drop=recipe.export.int8_max_drop,
        calibration_images=recipe.export.calibration_images,
    )


def files_of(exported: Exported | None) -> dict[str, tuple[Path, str]]:
    """Returns role -> (path, sha256) of what is published with a release: proven files alone."""
    if exported is None or not exported.proofs:
        return {}
    folder = Path(exported.folder)
    found = {
        role: (folder / file.name, file.sha256)
        for proof in exported.proofs
        if proof.state == "proven"
        for role, file in proof.files.items()
    }
    return found | {"exports": (folder / PROOFS, exported.proofs_sha256)}


def is_there(exported: Exported) -> bool:
    """Tells whether all files of an export are what they were."""
    return all(
        path.is_file() and sha256_of(path) == sha256 for path, sha256 in files_of(exported).values()
    )
