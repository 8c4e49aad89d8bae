"""Measuring one release again: its files fetched afresh, verified, loaded strictly, evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mixnet_core.data.index import read_index
from mixnet_core.data.prepare import expect_classes, prepare_val
from mixnet_core.data.seen import Seen
from mixnet_core.errors import (
    DigestMismatch,
    IntegrityError,
    JobFailed,
    ReleaseMissing,
    TransientError,
)
from mixnet_core.evaluate.counting import Judged
from mixnet_core.evaluate.job import Measured
from mixnet_core.evaluate.measured_on import measured_on
from mixnet_core.evaluate.prediction_table import PredictionTable, read_table
from mixnet_core.evaluate.report.view import measured_view
from mixnet_core.evaluate.report.write import write_page
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.revalidation.history import last_measured, of_release, trend
from mixnet_core.revalidation.seen import fetch_seen
from mixnet_core.revalidation.states import Revalidation, judged_claims, judged_state
from mixnet_core.runs.markup import literal
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.runs.ticks import Tick, Watch, fetching_ticks, unwatched
from mixnet_core.runs.values import PreparedDataset
from mixnet_core.stages.release_to_measure import (
    AnyRelease,
    Released,
    fetch_file,
    fetch_release,
    measure_release,
)
from mixnet_core.storage.asides import OwnAside, remove_left_asides
from mixnet_core.storage.files import expect_writable, os_errors_explained

STAGE = "revalidate"
# Stands in a release's folder of the workspace: its newest figures, and how they went over time.
PAGE = "report.html"


@dataclass(frozen=True, eq=False)
class Fetched:
    """Holds a release whose files are on this machine, just transferred and verified.

    Attributes:
        ready: its recipe and weights.
        folder: of the workspace, for what measuring it leaves.
        predictions: the published table of predictions; None where the release has none.
        own_images: whether its images are those of its recipe, and of no other folder.
        own: the folder of the files, which goes with this object: another revalidation of the
            same name, perhaps of another registry, has its own.
        seen: what its weights were trained and selected on; None where it does not say.
    """

    release: AnyRelease
    ready: Released
    folder: Path
    predictions: Path | None
    own: OwnAside
    own_images: bool = True
    seen: Seen | None = None


def now() -> str:
    """Returns the time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fetch_again(
    release: AnyRelease, workspace: Workspace, *, data: str | None = None, watch: Watch = unwatched
) -> Fetched:
    """Fetches a release's files afresh, also those that are on this machine already.

    Args:
        data: folder of images instead of the recipe's, for a machine that has them elsewhere.

    Raises:
        ReleaseMissing: a file of it is gone.
        InputError: a folder stands where its page is written.
        IntegrityError: what is stored is not what was published.
        MixnetError: as `stages.release_to_measure.fetch_release`.
    """
    every = workspace.root / "revalidations"
    folder = every / release.name
    pins = folder / "weights"
    with os_errors_explained(folder):
        pins.mkdir(parents=True, exist_ok=True)
        for left in pins.iterdir():
            # Copies that earlier versions kept. A pin of a digest stays.
            if left.is_file() and left.suffix != ".json":
                left.unlink(missing_ok=True)
        remove_left_asides(*every.glob("*/attempts"))
        expect_writable(folder / PAGE)
        # Empty: a copy from the last time would hide what happened to the original.
        own = OwnAside(every)
    ready = fetch_release(
        release,
        own.path,
        cache=own.path,
        pins=pins,
        data=data,
        on_bytes=lambda done, total: watch(Tick(STAGE, done, total, "B", detail="weights")),
    )
    predictions = None
    if isinstance(release, PublishedRelease) and "answers" in release.files:
        predictions = fetch_file(release, "answers", own.path / "published-answers.csv")
    seen = fetch_seen(release, own.path)
    return Fetched(release, ready, folder, predictions, own, own_images=data is None, seen=seen)


def measure_again(
    fetched: Fetched,
    workspace: Workspace,
    *,
    history: Sequence[Revalidation] = (),
    tolerance: float = 0.001,
    watch: Watch = unwatched,
) -> Revalidation:
    """Evaluates a release on its recipe's val split, compares, and writes its page.

    Args:
        history: earlier results, of any release.
        tolerance: share of the images by which top-1 may differ from what was counted on the same
            ones: another device or version rounds a few images otherwise.

    Raises:
        DatasetError: the images are not there, or are of other classes than the release's.
        MixnetError: as `evaluate.job.measure`; never as if the release's own files were changed or
            out of reach.
    """
    with _not_of_the_release(fetched.release):
        return _measured_again(fetched, workspace, history, tolerance, watch)


@contextmanager
def _not_of_the_release(release: AnyRelease) -> Iterator[None]:
    """Raises what would say that a release is changed or out of reach as another error.

    Its files were fetched and verified before: what fails now is the images, a job, this machine.
    """
    fetched = f"the files of {release.name} are what was published, but measuring them failed"
    try:
        yield
    except (DigestMismatch, ReleaseMissing) as error:
        raise IntegrityError(f"{fetched}: {error}") from error
    except TransientError as error:
        raise JobFailed(f"{fetched}: {error}", retryable=True) from error


def _measured_again(
    fetched: Fetched,
    workspace: Workspace,
    history: Sequence[Revalidation],
    tolerance: float,
    watch: Watch,
) -> Revalidation:
    ready, release = fetched.ready, fetched.release
    dataset = _dataset(fetched, workspace, watch)
    same_images = release.claimed_on == dataset.val_fingerprint
    # A table that is none is found before the measurement, which would be thrown away.
    published = _published_predictions(fetched, dataset) if same_images else None
    measured = measure_release(
        ready, dataset, stage=STAGE, attempts=fetched.folder / "attempts", watch=watch
    )
    (predictions,), (found,) = measured.predictions, measured.scores
    claims = judged_claims(release.claims, found, same_images=same_images, tolerance=tolerance)
    mine = of_release(history, release.name)
    state, note = judged_state(
        claims,
        predictions,
        published=published,
        earlier=last_measured(mine, ready.sha256, dataset.val_fingerprint),
        tolerance=tolerance,
    )
    on = measured_on(ready.recipe.data, dataset, predictions, fetched.seen)
    other = "" if same_images or not claims else "on other images than the claim's, or unknown ones"
    result = Revalidation(
        release=release.name,
        uri=release.shown_uri,
        state=state,
        time=now(),
        sha256=ready.sha256,
        dataset=dataset.val_fingerprint,
        measured=found,
        measured_on=on,
        claims=claims,
        engine=measured.engine,
        note="; ".join(text for text in (note, other) if text),
    )
    sentence = literal(f"Measured again: {state}{': ' if note else ''}{note}.")
    _write_page(fetched, dataset, measured, sentence, [*mine, result])
    return result


def _write_page(
    fetched: Fetched,
    dataset: PreparedDataset,
    measured: Measured,
    sentence: str,
    results: Sequence[Revalidation],
) -> None:
    """Writes a release's page.

    Args:
        sentence: the outcome.
        results: of this release, the oldest first, this one last.
    """
    result = results[-1]
    on = result.measured_on
    assert on is not None
    images = read_index(Path(dataset.root), "val").paths
    view = measured_view(
        result.release,
        fetched.ready.recipe,
        PredictionTable(images, measured.predictions[0]),
        dataset.classes,
        sentence=sentence,
        facts=[
            ("release", literal(result.uri)),
            ("weights", f"sha256 `{result.sha256}`"),
            ("images", f"{literal(on.line)}, fingerprint `{dataset.val_fingerprint[:12]}`"),
            ("engine", literal(measured.engine)),
        ],
        claims=[claim.model_dump() for claim in result.claims],
        unseen=on.unseen,
        images_per_second=measured.images_per_second,
        trend=trend(results),
    )
    write_page(fetched.folder / PAGE, dataset, view)


def _dataset(fetched: Fetched, workspace: Workspace, watch: Watch) -> PreparedDataset:
    """Prepares the val images of a release's recipe, or of the folder that stands in for them."""
    ready = fetched.ready
    data = ready.recipe.data
    if data.layout == "mindrecord":
        # Shards are for training on a network disk; the same images are measured without them.
        data = data.model_copy(update={"layout": "links"})
    dataset = prepare_val(
        data,
        workspace.datasets,
        classes=ready.classes,
        trained_on=fetched.own_images,
        fingerprint=fetched.release.claimed_on,
        on_image=lambda done, total: watch(Tick(STAGE, done, total, "img", detail="dataset")),
        on_fetched=fetching_ticks(STAGE, watch),
    )
    expect_classes(dataset, ready.recipe.network.num_classes)
    return dataset


def _published_predictions(fetched: Fetched, dataset: PreparedDataset) -> Judged | None:
    """Returns the published predictions in the order of these images; None: they cannot be paired.

    The fingerprint holds no names: files that were renamed since stand in another order.
    """
    if fetched.predictions is None:
        return None
    table = read_table(fetched.predictions, dataset.classes)
    index = read_index(Path(dataset.root), "val")
    theirs = [path.rpartition("/")[2] for path in table.images]
    ours = [path.rpartition("/")[2] for path in index.paths]
    same = theirs == ours and table.rows["label"].tolist() == index.labels.tolist()
    return table.rows if same else None
