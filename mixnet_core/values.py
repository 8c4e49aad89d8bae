"""What crosses from one stage to the next: small frozen values of paths, digests and numbers.

They hold no arrays and no open files, so Prefect can store them, the command line can print them
and a stage can be run again from them alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Whose operators a network runs on: MindSpore's, or this project's for the CPU.
Operators = Literal["plain", "native"]


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreparedDataset(Value):
    """Images in the splits train, select and val.

    Attributes:
        root: absolute path of the folder that holds `manifest.json`; see `data.index`.
        fingerprint: hex sha256 over every image's split, class and content digest.
        classes: names in label order: the label of `classes[i]` is `i`.
        counts: images a split; only "val" where nobody trains.
        val_fingerprint: the same over the classes and the images of val.
        reused: whether it stood there already and nothing was done.
    """

    root: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    val_fingerprint: str = ""
    reused: bool = False


class FetchedWeights(Value):
    """A verified weights file on this machine.

    Attributes:
        name: of the release it came from.
        path: absolute.
        sha256: hex, of the whole file; verified in this call.
        reused: whether the cached file was taken and nothing was transferred.
    """

    name: str
    path: str
    sha256: str
    reused: bool = False


class Checkpoint(Value):
    """A weights file in a complete bundle that training left.

    Attributes:
        path: absolute, of the bundle's folder; file: in it, the weights or their moving averages.
        step: optimizer steps done, epoch: epochs done.
        weights_sha256: hex, of the file.
        mean_of: steps of the checkpoints whose weights it is the mean of; then step and epoch are
            the last one's, and path is no bundle's.
    """

    path: str
    step: int
    epoch: int
    weights_sha256: str
    file: str = "weights.ckpt"
    mean_of: tuple[int, ...] = ()

    @property
    def weights(self) -> Path:
        """The file."""
        return Path(self.path) / self.file

    @property
    def kind(self) -> str:
        """Of weights, in a few words."""
        if self.mean_of:
            return f"mean of {len(self.mean_of)}"
        return "moving averages" if self.averaged else "as trained"

    @property
    def averaged(self) -> bool:
        """Whether these are moving averages."""
        return self.file != "weights.ckpt"


class TrainedRun(Value):
    """What training left: its checkpoints, oldest first, and what it cost.

    Attributes:
        seconds: wall time of the attempt that finished, start-up and compile included.
        images_per_second: over all ranks, after the first step's compile.
        resumed_from_step: 0 when it started fresh.
        batch: how the global batch came about, in words (`Recipe.batch_sentence`).
        changes: how the attempt that finished computed otherwise than the one it went on from:
            "ranks 2 -> 3"; empty if its bits are those of a run that never stopped.
        unreadable: images that could not be read and for which others stood in.
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
    reused: bool = False


class Score(Value):
    """Counts over a split, each image once.

    Attributes:
        correct1, correct5: images whose label is the first, is among the first five.
        loss: mean cross-entropy in nats, without label smoothing.
    """

    count: int
    correct1: int
    correct5: int
    loss: float

    @property
    def top1(self) -> float:
        """Share in 0..1."""
        return self.correct1 / self.count

    @property
    def top5(self) -> float:
        """Share in 0..1; with five classes or fewer it is 1."""
        return self.correct5 / self.count


class Candidate(Value):
    checkpoint: Checkpoint
    score: Score


class Selection(Value):
    """The checkpoint chosen on the select split, with every candidate's figures.

    Attributes:
        rule: how it was chosen, in words.
        policy: the rule's name in the recipe; the default is for records of when there was one.
    """

    chosen: Checkpoint
    candidates: tuple[Candidate, ...]
    rule: str
    policy: str = "best"
    reused: bool = False


class Validation(Value):
    """The chosen file measured once on the val split.

    Attributes:
        answers: path of the table of every image's answer (`evaluate.answer_table`).
        report_json, report_markdown, report_page: absolute paths.
        engine: as `EvaluateResult`.
    """

    checkpoint: Checkpoint
    score: Score
    dataset_fingerprint: str
    answers: str
    report_json: str
    report_markdown: str
    report_page: str
    engine: str
    reused: bool = False


class Check(Value):
    """One thing that was demanded: whether it is so, and the figures in one line."""

    ok: bool
    line: str


class Decision(Value):
    """Whether a validated checkpoint may be published.

    Attributes:
        checks: what was demanded; empty where nothing was.
        replaces: the release that it was measured against.
        override: why it is published whatever the checks say.
    """

    checks: tuple[Check, ...]
    replaces: str | None = None
    override: str | None = None
    reused: bool = False

    @property
    def accepted(self) -> bool:
        return self.override is not None or all(check.ok for check in self.checks)


class Release(Value):
    """A published release: weights with their evidence.

    Attributes:
        uri: of the release's folder, `file://` or `s3://`.
        files: role (weights, report, ...) -> name in that folder; names carry their digest.
        manifest_sha256: hex, of the `manifest.json` that was written last.
    """

    name: str
    uri: str
    files: dict[str, str]
    manifest_sha256: str
    reused: bool = False


class TrainRequest(Value):
    """What `python -m mixnet_core.train` is given.

    Attributes:
        recipe: path of the effective recipe.
        threads: CPU threads of this rank.
        operators: whose; see `model.mixnet.build_model`.
        resume_from: folder of the bundle to go on from; None: from the start.
    """

    recipe: str
    run_dir: str
    dataset: PreparedDataset
    weights: FetchedWeights | None
    threads: int
    operators: Operators
    resume_from: str | None = None


class PackRequest(Value):
    """What `python -m mixnet_core.data.mindrecord` is given.

    Attributes:
        folder: of the dataset in the making, with its indexes; the shards are written there.
        images: the folder that the indexes' paths start from.
        shard_bytes: of images, at most, in a shard of several.
        progress: path of a JSON-lines file that is begun anew; a row is {"done", "total"}, where an
            image counts twice: once written, once read back. None: not told.
    """

    folder: str
    images: str
    shard_bytes: int
    progress: str | None = None


class Shard(Value):
    """A file of a dataset in MindRecord layout: its name, size and hex sha256."""

    file: str
    bytes: int
    sha256: str


class PackedDataset(Value):
    """shards: of each split, in order."""

    shards: dict[str, tuple[Shard, ...]]


class AverageRequest(Value):
    """What `python -m mixnet_core.train.average` is given.

    Attributes:
        recipe: path of the effective recipe.
        dataset: root of the prepared dataset, of whose training images statistics are estimated.
        files: weights files of one network.
        folder: where the mean's weights.ckpt goes; it appears with it.
        images: at least so many, or an epoch.
        classes, threads, operators: as `TrainRequest`.
        progress: path of a JSON-lines file that is begun anew; a row is {"done", "total"} images.
    """

    recipe: str
    dataset: str
    files: tuple[str, ...] = Field(min_length=1)
    folder: str
    images: int
    classes: int
    threads: int
    operators: Operators
    progress: str


class AverageResult(Value):
    """sha256: hex, of the file written."""

    sha256: str


class LookRequest(Value):
    """What `python -m mixnet_core.evaluate.look` is given. file: of weights."""

    file: str


class LookResult(Value):
    """What a file of weights says of its network.

    Attributes:
        variant: None where it does not show.
        image_size: pixels, where the file fixes them.
    """

    variant: str | None
    num_classes: int
    in_channels: int
    image_size: int | None = None


class EvaluateRequest(Value):
    """What `python -m mixnet_core.evaluate` is given.

    Attributes:
        recipe: path of the effective recipe, which says the network, its input and the device.
        dataset: root of the prepared dataset; split: train, select or val.
        weights: weights files, each of which answers to the whole split.
        classes: width of the classifier.
        batch: images between two rows of progress; threads: of the data pipeline, and of OpenVINO.
        answers: folder for what the workers judged; see `evaluate.answer_files`.
        progress: path of a JSON-lines file that is begun anew; its rows: see `evaluate.scoring`.
        workers: processes that share the split; more than one are started by msrun.
    """

    recipe: str
    dataset: str
    split: str
    weights: tuple[str, ...] = Field(min_length=1)
    classes: int = Field(ge=1)
    batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    answers: str
    progress: str
    workers: int = Field(default=1, ge=1)


class EvaluateResult(Value):
    """What measuring took, besides the answers that the request's folder holds.

    Attributes:
        images_per_second: over all weights files and workers, decoding included, loading and
            compiling left out.
        engine: what computed the logits: "openvino 2026.4.1, CPU, float32".
    """

    images_per_second: float
    engine: str


class Evaluation(Value):
    """A file of weights measured on a val split; shares are in 0..1.

    Attributes:
        top1_interval, top5_interval: 95 %.
        calibration_error: expected calibration error, over 15 bins.
        val_fingerprint: of the images, as `PreparedDataset`.
        claims: what the catalog says of a file with this digest: "top-1" or "top-5" -> share.
    """

    file: str
    sha256: str
    score: Score
    top1_interval: tuple[float, float]
    top5_interval: tuple[float, float]
    calibration_error: float
    val_fingerprint: str
    engine: str
    images_per_second: float
    claims: dict[str, float] = {}
