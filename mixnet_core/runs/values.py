"""Values that cross from one stage to the next: small, frozen, of paths, digests and numbers.

They hold no arrays and no open files, so Prefect can store them, the command line can print them
and a stage can be run again from them alone.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

# The file of a bundle that holds the network's weights as training left them; its other file of
# weights are their moving averages. `checkpoints.bundle` has the whole layout.
WEIGHTS_FILE = "weights.ckpt"
# Of a prepared dataset: its images that stand in it more than once; see `data.overlap`.
DUPLICATES_FILE = "duplicates.csv"
# Likewise those that look alike, where that was asked for; see `data.near_duplicates`.
NEAR_DUPLICATES_FILE = "near_duplicates.csv"


class Value(BaseModel):
    """Stays as it was made, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Overlap(Value):
    """Counts the images of a prepared dataset whose bytes stand in it more than once, by sha256.

    Attributes:
        val_in_training: val images that also stand in train or select; None where there is no
            train.
        select_in_train: select images that also stand in train; None where there is no select.
        within: split -> images that stand more than once in that split.
        in_several_classes: images that stand under two classes or more, in whichever splits.
        all: images that stand more than once, in whichever splits: as many as are listed.
    """

    val_in_training: int | None
    select_in_train: int | None
    within: dict[str, int]
    in_several_classes: int
    all: int


class NearDuplicates(Overlap):
    """Counts the images that look like another one, whose bytes are others; fields as `Overlap`.

    Attributes:
        distance: bits of 64 in which two images' hashes may differ.
    """

    distance: int


class PreparedDataset(Value):
    """Describes prepared images in the splits train, select and val.

    Attributes:
        root: absolute path of the folder that holds `manifest.json`; see `data.index`.
        fingerprint: hex sha256 over every image's split, class and content digest.
        classes: names in label order: the label of `classes[i]` is `i`.
        counts: images per split; only "val" where nobody trains.
        val_fingerprint: hex sha256 over the classes and the images of val alone.
        notes: what preparing left out or took otherwise than its name says, a line each.
        overlap: which images stand in it more than once; None in records of earlier versions.
        reused: whether it was prepared already and nothing was done.
    """

    root: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    val_fingerprint: str = ""
    notes: tuple[str, ...] = ()
    overlap: Overlap | None = None
    reused: bool = False


class PreparedCopy(Value):
    """Describes the shards of a prepared dataset in a store.

    Attributes:
        uri: of the folder or prefix.
        fingerprint: the dataset's, hex sha256.
        bytes: of all files.
        reused: whether it was there already and nothing was transferred.
    """

    uri: str
    fingerprint: str
    bytes: int
    reused: bool = False


class FetchedWeights(Value):
    """Describes a verified weights file on this machine.

    Attributes:
        name: of the release it came from.
        path: absolute.
        sha256: hex, of the whole file; verified in this call.
        seen: absolute path of the digests of what they were trained and selected on (`data.seen`);
            "" where they do not say, and in records of earlier versions.
        seen_sha256: hex, of that file.
        seen_lacks: the name of weights that they descend from, whose images are not in that file.
        reused: whether the cached file was taken and nothing was transferred.
    """

    name: str
    path: str
    sha256: str
    seen: str = ""
    seen_sha256: str = ""
    seen_lacks: str | None = None
    reused: bool = False


class Checkpoint(Value):
    """Describes a weights file in a complete bundle that training left.

    Attributes:
        path: absolute, of the bundle's folder.
        step: optimizer steps done.
        epoch: epochs done.
        weights_sha256: hex, of the file.
        file: its name in the folder: the weights or their moving averages.
        mean_of: steps of the checkpoints whose weights it is the mean of; then step and epoch are
            the last one's, and path is no bundle's.
    """

    path: str
    step: int
    epoch: int
    weights_sha256: str
    file: str = WEIGHTS_FILE
    mean_of: tuple[int, ...] = ()

    @property
    def weights(self) -> Path:
        """Returns the path of the file."""
        return Path(self.path) / self.file

    @property
    def kind(self) -> str:
        """Says in a few words which weights these are."""
        if self.mean_of:
            return f"mean of {len(self.mean_of)}"
        return "moving averages" if self.averaged else "as trained"

    @property
    def averaged(self) -> bool:
        """Tells whether these are moving averages."""
        return self.file != WEIGHTS_FILE


class Machine(Value):
    """Describes what training ran on, as it was read there: "" and 0 where it could not be.

    Attributes:
        device: "CPU", "Ascend" or "GPU".
        processor: the CPU's name.
        cores: that the process could use.
        ascend_driver, ascend_firmware, cann: versions.
        packages: name -> version, Python among them.
    """

    device: str
    processor: str = ""
    cores: int = 0
    ascend_driver: str = ""
    ascend_firmware: str = ""
    cann: str = ""
    packages: dict[str, str] = {}


class TrainedRun(Value):
    """Describes what training left: its checkpoints, and what it cost.

    Attributes:
        run_dir: path of the run's folder.
        checkpoints: the oldest first.
        steps, epochs: done in all.
        loss: mean of the last epoch, in nats.
        seconds: wall time of the attempt that finished, start-up and compile included.
        images_per_second: over all ranks, after the first step's compile.
        resumed_from_step: 0 where it started afresh.
        batch: how the global batch came about, in words (`Recipe.batch_sentence`).
        changes: how the attempt that finished computed otherwise than the one it went on from:
            "ranks 2 -> 3"; empty if its bits are those of a run that never stopped.
        unreadable: images that could not be read and for which others stood in.
        machine: that the attempt that finished ran on; None in records of earlier versions.
        rewinds: how often the run diverged and went back; see `runs.diverged`.
        left_out: the steps whose batches it left out for that.
    """

    run_dir: str
    checkpoints: tuple[Checkpoint, ...]
    steps: int
    epochs: int
    loss: float
    ranks: int
    seconds: float
    images_per_second: float
    resumed_from_step: int = 0
    batch: str = ""
    changes: tuple[str, ...] = ()
    unreadable: int = 0
    machine: Machine | None = None
    rewinds: int = 0
    left_out: tuple[int, ...] = ()
    reused: bool = False


class Score(Value):
    """Counts over a split, each image once.

    Attributes:
        count: images.
        correct1: images whose label comes first.
        correct5: images whose label is among the first five.
        loss: mean cross-entropy in nats, without label smoothing.
    """

    count: int
    correct1: int
    correct5: int
    loss: float

    @property
    def top1(self) -> float:
        """Returns a share in 0..1."""
        return self.correct1 / self.count

    @property
    def top5(self) -> float:
        """Returns a share in 0..1; with five classes or fewer it is 1."""
        return self.correct5 / self.count


class MeasuredOn(Value):
    """Says which images a figure was counted on.

    Attributes:
        folder: where they came from, as it may be said; None for an embedded source.
        split: "val/", "cut from train/", or what else stood for it; empty: all of the folder.
        count: images.
        seen: of these, how many stand byte for byte among the images that the weights were trained
            or selected on; None where those are not known.
        unseen: the figures on the others; None where none was seen, all were, or it is not known.
        unknown_start: initial weights, by name, whose own training images are not known and not
            counted; None where there are none such, and in records of earlier versions.
    """

    folder: str | None
    split: str
    count: int
    seen: int | None = None
    unseen: Score | None = None
    unknown_start: str | None = None

    @property
    def place(self) -> str:
        """Says where the images came from."""
        if self.folder is None:
            return self.split or "the val split"
        return f"{self.split} of {self.folder}" if self.split else self.folder

    @property
    def seen_line(self) -> str:
        """Says how many of them training or selection saw."""
        return seen_line(self.seen, self.count, self.unknown_start)

    @property
    def line(self) -> str:
        """Says all of it but the figures."""
        return f"{self.count:,} images, {self.place}: {self.seen_line}"


def seen_line(seen: int | None, count: int, unknown_start: str | None = None) -> str:
    """Says how many of so many images training or selection saw; the arguments: `MeasuredOn`."""
    if seen is None:
        return "how many of them training or selection saw is not known"
    limit = "" if unknown_start is None else f"; {unknown_line(unknown_start)}"
    if not seen:
        return f"none of them stands in training or selection, byte for byte{limit}"
    return f"{seen:,} of {count:,} stand in training or selection, byte for byte{limit}"


def unknown_line(start: str) -> str:
    """Says that nobody knows which images some initial weights were trained on."""
    return f"what the initial weights {start} were trained on is not known"


class Candidate(Value):
    """Pairs a checkpoint with its figures on the select split."""

    checkpoint: Checkpoint
    score: Score


class Selection(Value):
    """Says which checkpoint was chosen on the select split, with every candidate's figures.

    Attributes:
        rule: how it was chosen, in words.
        policy: the rule's name in the recipe. Its default stands for records from before recipes
            named a rule, when "best" was the only one.
    """

    chosen: Checkpoint
    candidates: tuple[Candidate, ...]
    rule: str
    policy: str = "best"
    reused: bool = False


class Validation(Value):
    """Holds what the chosen file reached when it was measured once on the val split.

    Attributes:
        answers: path of the predictions (`evaluate.prediction_table`).
        answers_sha256: hex, of that file; "" in records of earlier versions.
        report_json, report_markdown, report_page: absolute paths.
        engine: as `EvaluateResult`.
        measured_on: the images; None in records of earlier versions.
        seen_sha256: hex, of the file with the digests of the images that training and selection
            saw (`data.seen`); "" likewise.
    """

    checkpoint: Checkpoint
    score: Score
    dataset_fingerprint: str
    answers: str
    answers_sha256: str = ""
    report_json: str
    report_markdown: str
    report_page: str
    engine: str
    measured_on: MeasuredOn | None = None
    seen_sha256: str = ""
    reused: bool = False


class Check(Value):
    """Says of one thing that was demanded whether it is so, with the figures in one line."""

    ok: bool
    line: str


class Decision(Value):
    """Says whether a validated checkpoint may be published.

    Attributes:
        checks: what was demanded; empty where nothing was.
        replaces: the release that it was measured against.
        override: the reason to publish it whatever the checks say.
        weights_sha256: hex, of the file that was judged.
        answers_sha256: hex, of its predictions.
        demands: the recipe's acceptance section that it was judged by. These three are empty in
            records of earlier versions.
    """

    checks: tuple[Check, ...]
    replaces: str | None = None
    override: str | None = None
    weights_sha256: str = ""
    answers_sha256: str = ""
    demands: dict[str, float | str | None] = {}
    reused: bool = False

    @property
    def accepted(self) -> bool:
        """Tells whether all checks hold, or are overridden."""
        return self.override is not None or all(check.ok for check in self.checks)


class Release(Value):
    """Describes a published release: weights with their evidence.

    Attributes:
        uri: of the release's folder, `file://` or `s3://`.
        files: role (weights, report, ...) -> name in that folder; names carry their digest.
        manifest_sha256: hex, of the `manifest.json` that was written last.
        signed: whether a signature stands beside it; None in records of earlier versions.
    """

    name: str
    uri: str
    files: dict[str, str]
    manifest_sha256: str
    signed: bool | None = None
    reused: bool = False


class Evaluation(Value):
    """Holds what a file of weights reached on a val split; shares are in 0..1.

    Attributes:
        file: its path, as it was given.
        sha256: hex, of the file.
        top1_interval, top5_interval: 95 %.
        calibration_error: expected calibration error, over 15 bins.
        val_fingerprint: of the images, as `PreparedDataset`.
        read_as: network and transform of the images, and which recipe says so.
        claims: what its release or the catalog states: "top-1" or "top-5" -> share.
        folder, split: which images: "val/" of that folder; empty: all of it.
        classes: how many of the weights' classes have images, and of how many.
        labels: how each image's label was found, in words.
        left_out: in one line, what else the file holds and was not used; "" if nothing.
        seen, unseen, unknown_start: as `MeasuredOn`; known where the file lies in a run or a
            release that knows.
    """

    file: str
    sha256: str
    score: Score
    top1_interval: tuple[float, float]
    top5_interval: tuple[float, float]
    calibration_error: float
    val_fingerprint: str
    engine: str
    read_as: str
    images_per_second: float
    claims: dict[str, float] = {}
    folder: str = ""
    split: str = ""
    classes: tuple[int, int] = (0, 0)
    labels: str = ""
    left_out: str = ""
    seen: int | None = None
    unseen: Score | None = None
    unknown_start: str | None = None
