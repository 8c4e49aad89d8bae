"""What crosses from one stage to the next: small frozen values of paths, digests and numbers.

They hold no arrays and no open files, so Prefect can store them, the command line can print them
and a stage can be run again from them alone.
"""

from __future__ import annotations

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
        counts: images a split.
        reused: whether it stood there already and nothing was done.
    """

    root: str
    fingerprint: str
    classes: tuple[str, ...]
    counts: dict[str, int]
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
    """

    path: str
    step: int
    epoch: int
    weights_sha256: str
    file: str = "weights.ckpt"

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
    """

    chosen: Checkpoint
    candidates: tuple[Candidate, ...]
    rule: str
    reused: bool = False


class Validation(Value):
    """The chosen file measured once on the val split.

    Attributes:
        report_json, report_markdown: absolute paths.
        engine: as `EvaluateResult`; the default is for records of when there was only one.
    """

    checkpoint: Checkpoint
    score: Score
    dataset_fingerprint: str
    report_json: str
    report_markdown: str
    engine: str = "mindspore"
    reused: bool = False


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


class EvaluateRequest(Value):
    """What `python -m mixnet_core.evaluate` is given.

    Attributes:
        recipe: path of the effective recipe, which says the network, its input and the device.
        dataset: root of the prepared dataset; split: train, select or val.
        weights: weights files, each scored on the whole split.
        classes: width of the classifier.
        batch: images between two rows of progress; threads: of the data pipeline, and of OpenVINO.
        progress: path of a JSON-lines file that is begun anew; its rows: see `evaluate.scoring`.
    """

    recipe: str
    dataset: str
    split: str
    weights: tuple[str, ...] = Field(min_length=1)
    classes: int = Field(ge=1)
    batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    progress: str


class EvaluateResult(Value):
    """A score for each of the request's weights files, in its order.

    Attributes:
        images_per_second: over all of them, decoding included, loading and compiling left out.
        engine: what computed the logits: "openvino 2026.4.1, CPU, float32".
    """

    scores: tuple[Score, ...]
    images_per_second: float
    engine: str
