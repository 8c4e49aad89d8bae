"""What `mixnet export` does: a release's files for other runtimes, in a folder of their own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import prepare_dataset, prepare_val
from mixnet_core.errors import (
    DatasetError,
    InputError,
    IntegrityError,
    MachineError,
    NotAccepted,
    TransientError,
)
from mixnet_core.evaluate.prediction_table import read_table
from mixnet_core.exports.exportable import Exportable, on_cpu
from mixnet_core.exports.making import PROOFS, Wanted, make_exports, require_formats
from mixnet_core.exports.readme import readme
from mixnet_core.exports.request import Images
from mixnet_core.recipe.kinds import FORMATS
from mixnet_core.recipe.recipe import stored_recipe
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.runs.export_values import Exported, ExportProof
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Tick, Watch, fetching_ticks, unwatched
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.named_weights import find_released
from mixnet_core.stages.on_record import OnRecord
from mixnet_core.stages.release_to_measure import Released, columns, fetch_file
from mixnet_core.storage.files import folder_aside, sha256_of, write_text
from mixnet_core.storage.uris import refuse_credentials, shown

STAGE = "export"


def export_release(
    name_or_uri: str,
    wanted: Wanted,
    out: Path,
    *,
    workspace: Workspace,
    registry: str,
    data: str | None = None,
    unproven: bool = False,
    watch: Watch = unwatched,
) -> Exported:
    """Writes a release in other formats, each proven, all at once or not at all.

    Args:
        name_or_uri: as `named_weights.find_released`: a release, a run, a file of weights.
        out: the folder; an earlier export there is replaced.
        data: folder of images instead of the recipe's, for a machine that has them elsewhere.
        unproven: write what cannot be proven, because the images are not here.

    Returns:
        What is there; `require_none_refused` raises for what is not.

    Raises:
        InputError: `out` holds something else; the images are not here and `unproven` is not set.
        NotAccepted: every format was refused; nothing is written.
        MixnetError: as finding and fetching the release and `exports.making.make_exports`.
    """
    refuse_credentials(name_or_uri, str(out), data)
    _expect_own(out)
    released = find_released(
        name_or_uri, workspace=workspace, registry=registry, data=data, stage=STAGE, watch=watch
    )
    # Of its own: another export of this release may be under way.
    attempts = workspace.root / "exports" / released.name / "attempts"
    with TemporaryDirectory() as own:
        item = exportable(released)
        require_formats(item.name, item.recipe.network, wanted.formats)
        images = None
        try:
            images = _images(released, item, wanted, workspace, Path(own), data, watch)
        except (DatasetError, MachineError, TransientError) as error:
            # A folder that was named is not taken for one that is not here.
            if not unproven or data is not None:
                raise InputError(
                    f"not proven: images are not here ({error}); give their folder (--data), or "
                    "take files that nothing is known of (--unproven)"
                ) from error
        with folder_aside(out) as aside:
            proofs = make_exports(
                item, wanted, aside, images=images, attempts=attempts, watch=watch
            )
            if all(proof.state == "refused" for proof in proofs):
                raise NotAccepted(_refused(proofs))
            write_text(aside / "README.md", readme(item, proofs))
    return Exported(folder=str(out), proofs=proofs, proofs_sha256=sha256_of(out / PROOFS))


def require_none_refused(exported: Exported) -> None:
    """Raises NotAccepted where a format was refused; the others stand in the folder."""
    refused = [proof for proof in exported.proofs if proof.state == "refused"]
    if refused:
        raise NotAccepted(_refused(refused))


def exportable(released: Released) -> Exportable:
    """Returns what a release's exports are made from.

    Raises:
        InputError: it is an export itself.
        IntegrityError: it does not say how many classes it has.
    """
    if released.weights.suffix == ".onnx":
        raise InputError(
            f"{shown(str(released.weights))} is an export itself: name the release or the weights "
            "that it was made from"
        )
    classes, width = released.classes, released.num_classes
    if width is None:
        raise IntegrityError(f"release {released.name} does not say its classes: publish it again")
    return Exportable(
        name=released.name,
        recipe=on_cpu(released.recipe),
        weights=str(released.weights.absolute()),
        sha256=released.sha256,
        classes=classes,
        width=width,
    )


def _images(
    released: Released,
    item: Exportable,
    wanted: Wanted,
    workspace: Workspace,
    own: Path,
    data: str | None,
    watch: Watch,
) -> Images:
    """Prepares the images that the exports are proven on, and says how they fit the release."""
    section = released.recipe.data
    if section.layout == "mindrecord":
        # Shards are for training on a network disk; the same images are read without them.
        section = section.model_copy(update={"layout": "links"})

    def on_image(done: int, total: int) -> None:
        watch(Tick(STAGE, done, total, "img", detail="dataset"))

    on_fetched = fetching_ticks(STAGE, watch)
    if any(FORMATS.load(name).parent for name in wanted.formats):
        dataset = prepare_dataset(section, workspace.datasets, on_image, on_fetched=on_fetched)
    else:
        dataset = prepare_val(
            section,
            workspace.datasets,
            classes=released.classes,
            trained_on=data is None,
            fingerprint=_measured_on(released),
            on_image=on_image,
            on_fetched=on_fetched,
        )
    classes = released.classes or dataset.classes
    if len(classes) != item.width:
        raise DatasetError(
            f"{shown(dataset.root)} has {len(classes):,} classes, release {released.name} is for "
            f"{item.width:,}: give the folder of the release's images"
        )
    return Images(
        dataset=dataset.root,
        classes=classes,
        labels=columns(released.name, released.classes, dataset.classes, dataset.root),
        answers=_answers(released.published, dataset, classes, own),
    )


def _measured_on(released: Released) -> str | None:
    """Returns the fingerprint of the val images that a release or a run was measured on."""
    if released.published is not None:
        return released.published.claimed_on
    if released.run is None:
        return None
    return OnRecord(stored_recipe(released.run.recipe), released.run).dataset().val_fingerprint


def _answers(
    release: PublishedRelease | None,
    dataset: PreparedDataset,
    classes: tuple[str, ...],
    own: Path,
) -> str | None:
    """Fetches the release's predictions; None: it has none, or not of these images in this order.

    The fingerprint holds no names: files that were renamed since stand in another order.
    """
    if release is None or "answers" not in release.files:
        return None
    if release.claimed_on != dataset.val_fingerprint:
        return None
    path = fetch_file(release, "answers", own / "published-answers.csv")
    theirs = [image.rpartition("/")[2] for image in read_table(path, classes).images]
    ours = [image.rpartition("/")[2] for image in read_index(Path(dataset.root), "val").paths]
    return str(path) if theirs == ours else None


def _expect_own(out: Path) -> None:
    """Makes sure that nothing but an earlier export is replaced.

    Raises:
        InputError: something else stands there.
    """
    if out.is_dir() and ((out / PROOFS).is_file() or not any(out.iterdir())):
        return
    if out.exists():
        raise InputError(
            f"{shown(str(out))} holds something else than an earlier export: choose another --out"
        )


def _refused(proofs: tuple[ExportProof, ...] | list[ExportProof]) -> str:
    lines = "; ".join(f"{proof.format}: {proof.reason}" for proof in proofs)
    return f"not exported: {lines}"
