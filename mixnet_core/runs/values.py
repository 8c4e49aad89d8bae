"""What crosses from one stage to the next: small frozen values of paths, digests and numbers.

They hold no arrays and no open files, so Prefect can store them, the command line can print them
and a stage can be run again from them alone.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict


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
        answers: path of the table of every image's answer (`evaluate.prediction_table`).
        answers_sha256: hex, of that file; "" in records of earlier versions.
        report_json, report_markdown, report_page: absolute paths.
        engine: as `EvaluateResult`.
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
        weights_sha256, answers_sha256: hex, of the file that was judged and of what it predicted.
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


class Evaluation(Value):
    """A file of weights measured on a val split; shares are in 0..1.

    Attributes:
        top1_interval, top5_interval: 95 %.
        calibration_error: expected calibration error, over 15 bins.
        val_fingerprint: of the images, as `PreparedDataset`.
        read_as: network and transform of the images, and which recipe says so.
        claims: what its release or the catalog says of it: "top-1" or "top-5" -> share.
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
