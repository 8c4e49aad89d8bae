"""A recipe's sections: every key with its type, range and meaning.

Keys with a default came later than the first release: the default is what files without them mean.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mixnet_core.errors import InputError
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.recipe.kinds import ENGINES, OPTIMIZERS, SCHEDULES, SOURCES, one_of
from mixnet_core.storage.uris import refuse_credentials

CREDENTIALS = "credentials"


def _without_credentials(text: str) -> str:
    try:
        refuse_credentials(text)
    except InputError as error:
        # Of a type of its own, so that who reports it names the key and leaves out the value.
        raise PydanticCustomError(CREDENTIALS, "{reason}", {"reason": str(error)}) from None
    return text


def _on_one_line(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("place", "Input should not be empty")
    if not text.isprintable():
        raise PydanticCustomError("place", "Input should be one line without invisible characters")
    return text


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("words", "Input should be text, without the character 0")
    return text


# A sentence, in which somebody may have noted where the weights are: what stands in a recipe is
# written into runs and releases.
Words = Annotated[str, AfterValidator(_without_credentials), AfterValidator(_without_nul)]
# A path, a release's name or a URI. An empty path would be the folder one happens to be in.
Place = Annotated[str, AfterValidator(_without_credentials), AfterValidator(_on_one_line)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Triple = tuple[float, float, float]
Range = tuple[float, float]
InChannels = Literal[1, 3]
StemStride = Literal[1, 2]


class Section(BaseModel):
    """Refuses unknown keys and does not turn one type into another ("3" is no number)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        # What was typed may hold a secret, and a log prints the causes of an error too.
        hide_input_in_errors=True,
    )

    @classmethod
    def more_keys(cls) -> tuple[str, ...]:
        """Returns keys that a file may have besides the fields: those of files in other folders."""
        return ()


class Network(Section):
    """Which MixNet."""

    variant: VariantName
    flavour: FlavourName = Field(description="whose conventions the weights follow")
    num_classes: Annotated[int, Field(ge=1)] | None = Field(
        description="null: as many as the dataset has"
    )
    in_channels: InChannels = Field(description="1: images are read as grey")
    drop_rate: Rate = Field(description="share of the features dropped before the classifier")
    drop_path_rate: Rate = Field(
        default=0.0,
        description="share of the images for which a residual block is left out, times the block's "
        "index over their number (stochastic depth, arXiv:1603.09382, as EfficientNet has it)",
    )
    stem_stride: StemStride = Field(
        description="2 as published; 1 keeps twice the resolution for small images"
    )


class Weights(Section):
    """What training starts from."""

    name: Place | None = Field(
        description="a release's name or URI, or a file's path; null: from scratch"
    )
    reset_classifier: bool = Field(
        description="leave the classifier freshly initialised; false: only where the dataset's "
        "classes are not the release's"
    )
    freeze: Literal["nothing", "backbone"] = Field(
        default="nothing",
        description="backbone: only the classifier is trained, BatchNorm keeps its statistics",
    )
    ema: bool = Field(
        default=False,
        description="start from the moving averages that a training's checkpoint holds beside its "
        "weights (`ema.*`, as MindCV's train.py saves them)",
    )

    @model_validator(mode="after")
    def _averages_of_something(self) -> Weights:
        if self.ema and self.name is None:
            raise ValueError("ema without name: name the weights (--weights), or set ema to false")
        return self


class Data(Section):
    """Which images, and how they are split."""

    source: Annotated[str, one_of(SOURCES)] = Field(
        description="image_folder: classes are the folders of train/; imagenet: the 1,000 of "
        "ILSVRC2012, whatever folders are there; lists: train.csv and optionally val.csv; "
        "prepared: what `mixnet prepare` left"
    )
    path: Place | None = Field(
        description="image_folder, imagenet: the folder with train/ and optionally val/; lists: "
        "the folder of the lists, from which their paths start; fashion_mnist: the folder of IDX "
        "files, null looks in known places, then downloads; digits: null; prepared: what `mixnet "
        "prepare --to URI` wrote. A folder, or s3://bucket/prefix"
    )
    train_limit: Annotated[int, Field(ge=1)] | None = Field(
        description="use at most so many training images, class-balanced; null: all"
    )
    val_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="cut from the training images where the source has no val split of its own"
    )
    select_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="cut from the training images to select checkpoints on"
    )
    split_seed: Annotated[int, Field(ge=0)]
    val_labels: Place | None = Field(
        default=None,
        description="imagenet: a text file with the labels of a val/ without class folders",
    )
    subset: bool = Field(
        default=False,
        description="imagenet, lists: classes may have no images; labels stay those of all classes",
    )
    layout: Literal["links", "in_place", "mindrecord"] = Field(
        default="links",
        description="links: hard links, or copies on another disk; in_place: images stay where "
        "they are; mindrecord: a few large files, for network disks",
    )
    max_unreadable: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="images of an epoch on one rank that training may fail to read, others of "
        "their batch standing in; one more ends it",
    )

    @model_validator(mode="after")
    def _fits_its_source(self) -> Data:
        SOURCES.load(self.source).check(self)
        return self


class Input(Section):
    """From a decoded image to the network's input, the same in training and evaluation."""

    image_size: Annotated[int, Field(ge=4, le=1024)] = Field(description="pixels, square")
    crop_pct: Annotated[float, Field(gt=0, le=1)] = Field(
        description="evaluation resizes the short side to image_size / crop_pct, then crops"
    )
    interpolation: Literal["bilinear", "bicubic"]
    mean: Triple = Field(description="per channel in 0..255; one grey channel uses the first")
    std: Triple


class RandAugment(Section):
    """N random operations an image (arXiv:1909.13719); see `data.augment.rand_augment`."""

    operations: Annotated[int, Field(ge=1)]
    magnitude: Annotated[float, Field(ge=0, le=10)]
    magnitude_std: Annotated[float, Field(ge=0)]
    increasing: bool = Field(description="severity grows with magnitude for every op: timm's inc1")
    flavour: Literal["timm", "mindcv"] = Field(
        default="timm",
        description="whose reading of a magnitude: MindCV's operators shear by hundredths of what "
        "timm's do, and posterize less; its published recipes were trained with those",
    )


class RandomErasing(Section):
    """A rectangle of zeros after normalising (arXiv:1708.04896)."""

    probability: Share
    scale: Range = Field(description="share of the area")
    ratio: Range = Field(description="width / height")

    @model_validator(mode="after")
    def _ranges(self) -> RandomErasing:
        _expect_range("augment.erasing.scale", self.scale, most=1)
        _expect_range("augment.erasing.ratio", self.ratio)
        return self


class Mix(Section):
    """Mixup (arXiv:1710.09412) and cutmix (arXiv:1905.04899): one of them a batch."""

    mixup_alpha: Annotated[float, Field(ge=0)] = Field(description="0: no mixup")
    cutmix_alpha: Annotated[float, Field(ge=0)] = Field(description="0: no cutmix")
    probability: Share = Field(description="of mixing a batch at all")
    switch_probability: Share = Field(description="of cutmix where both are on")

    @model_validator(mode="after")
    def _mixes(self) -> Mix:
        if self.mixup_alpha == 0 and self.cutmix_alpha == 0:
            raise ValueError("augment.mix has both alphas 0: set augment.mix to null")
        return self


class Augment(Section):
    """Random changes of training images."""

    crop_scale: Range = Field(
        description="share of the area; [1, 1] with ratio [1, 1] only resizes"
    )
    crop_ratio: Range = Field(description="width / height")
    hflip: Share = Field(description="probability of a mirror image")
    rand_augment: RandAugment | None
    erasing: RandomErasing | None
    mix: Mix | None

    @model_validator(mode="after")
    def _ranges(self) -> Augment:
        _expect_range("augment.crop_scale", self.crop_scale, most=1)
        _expect_range("augment.crop_ratio", self.crop_ratio)
        return self


class Optimizer(Section):
    """What moves the weights."""

    name: Annotated[str, one_of(OPTIMIZERS)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(description="AdamW's beta1")
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    decay_norm_and_bias: bool = Field(
        description="decay BatchNorm's and biases too, as MindCV does"
    )
    clip_norm: Positive | None = Field(
        default=None,
        description="longest gradient, as the norm over all parameters after averaging over ranks",
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="the classifier has the schedule's rate, each block before it so many times "
        "the rate of the one after",
    )

    @model_validator(mode="after")
    def _fits_its_name(self) -> Optimizer:
        OPTIMIZERS.load(self.name).check(self)
        return self


class Schedule(Section):
    """Learning rate per step: linear from 0 in the warm-up, then as named, then constant."""

    name: Annotated[str, one_of(SCHEDULES)] = Field(
        default="cosine", description="cosine: half a cosine from lr to min_lr over decay_epochs"
    )
    lr: Positive = Field(description="the peak")
    lr_batch: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="the global batch that lr and min_lr are for: another one scales both linearly "
        "(arXiv:1706.02677); null: they are as they stand",
    )
    min_lr: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    decay_epochs: Positive

    @model_validator(mode="after")
    def _falls(self) -> Schedule:
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} exceeds lr {self.lr}")
        return self


class Precision(Section):
    """Mixed precision."""

    amp_level: Literal["O0", "O1", "O2", "O3"] = Field(
        description="O0: float32; O1: float16 for operators that gain by it; O2: float16 except "
        "BatchNorm; O3: float16"
    )
    loss_scale: Positive = Field(description="dynamic begins with it")
    loss_scale_type: Literal["fixed", "dynamic"] = Field(
        description="dynamic: halved at an overflow, doubled after 2000 steps without one"
    )
    drop_overflow_update: bool = Field(
        description="leave out steps whose gradients are not finite; dynamic needs it"
    )

    @model_validator(mode="after")
    def _dynamic_drops(self) -> Precision:
        if self.loss_scale_type == "dynamic" and not self.drop_overflow_update:
            raise ValueError(
                "precision.loss_scale_type dynamic finds its scale by overflows: it needs "
                "precision.drop_overflow_update: true"
            )
        return self


class Training(Section):
    """How long and how much at a time."""

    epochs: Annotated[int, Field(ge=1)]
    global_batch: Annotated[int, Field(ge=1)] = Field(
        description="images an optimizer step, over all ranks"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    # NumPy's, which MindSpore seeds, takes no larger one.
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    checkpoint_every_epochs: Annotated[int, Field(ge=1)]
    checkpoint_every_steps: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="so often within an epoch too, to lose less by an interruption; null: never",
    )
    keep_checkpoints: Annotated[int, Field(ge=1)] = Field(description="the newest so many")
    log_every_steps: Annotated[int, Field(ge=1)]
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="keep an exponential moving average of weights and BatchNorm statistics, and "
        "select among averages too; null: none",
    )
    batch_statistics: Literal["local", "averaged"] = Field(
        default="local",
        description="BatchNorm statistics in a checkpoint: rank 0's, or the mean over ranks; with "
        "virtual_ranks, of those",
    )
    virtual_ranks: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="compute every step as so many ranks would, each with its own part of the "
        "global batch, draws and BatchNorm, on however many ranks: any number that divides it "
        "trains the same bits on a CPU; null: as fast as it goes, other ranks round otherwise",
    )
    chance_epochs: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="stop after so many epochs in a row, after the warm-up, whose mean loss is no "
        "better than guessing and does not fall; null: never",
    )
    on_divergence: Literal["stop", "rewind", "rewind-and-skip"] = Field(
        default="stop",
        description="where the loss or a weight is no number, or the loss leaps (`train.leaps`): "
        "rewind goes back to the checkpoint before the newest good one and tries the same batches "
        "again; rewind-and-skip leaves out the batches that it happened at",
    )
    rewinds: Annotated[int, Field(ge=1)] = Field(
        default=3, description="so often at most in a run; see on_divergence"
    )

    @model_validator(mode="after")
    def _can_go_back(self) -> Training:
        if self.on_divergence != "stop" and self.keep_checkpoints < 2:
            raise ValueError(
                f"training.on_divergence {self.on_divergence} goes back to the checkpoint before "
                "the newest: make training.keep_checkpoints 2 or more, or set on_divergence to stop"
            )
        return self


class Devices(Section):
    """Where it runs. Not part of what is computed, except for the global batch's division.

    `ranks` are those of one host: hosts x ranks train together (`recipe.Recipe.ranks`), and one
    host, which selects and measures, has as many devices.
    """

    target: Literal["CPU", "Ascend", "GPU"]
    hosts: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1,
        description="machines that train together, each with devices.ranks ranks; more than one: "
        "`mixnet train` on each, told which one it is",
    )
    min_hosts: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="go on with so many hosts at least while others are lost, in the same global "
        "batch, and take those back once they are there again; null: with all of devices.hosts or "
        "not at all",
    )
    ranks: Annotated[int, Field(ge=1)] = Field(
        description="training processes on each host, one per device; a single one runs without "
        "msrun"
    )
    micro_batch: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="at most so many images at once on a rank, as its memory allows: gradients of "
        "the rest of its share of the global batch are accumulated; null: all at once",
    )
    stall_seconds: Positive = Field(
        default=600.0,
        description="training that takes no step for so long is ended and may be tried again",
    )
    compile_seconds: Positive = Field(
        default=3600.0, description="the same until the first step, which compiles"
    )
    grace_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        default=20.0,
        description="what training that is asked to stop may take to end its step and save it, "
        "10 s less than whoever asks gives it before SIGKILL: Prefect and Kubernetes give 30 s; 0: "
        "it is ended at once",
    )
    join_seconds: Positive = Field(
        default=120.0,
        description="how long a host waits for the others before training begins, or, as "
        "devices.min_hosts allows, goes on without them",
    )
    lost_seconds: Annotated[float, Field(ge=3)] = Field(
        default=30.0,
        description="a host that gives no sign of life for so long is lost, and the others end the "
        "attempt",
    )
    run_store: Place | None = Field(
        default=None,
        description="where checkpoints, and what else going on needs, are kept besides the run's "
        "folder, below the run's name: s3://BUCKET/PREFIX, or a folder. Another host goes on from "
        "there, with the same command, after `devices.lost_seconds`; null: nowhere",
    )
    restarts: Annotated[int, Field(ge=0)] = Field(
        default=3,
        description="training that failed in a way that may pass starts again so often, in a row, "
        "without a newer checkpoint in between; after one that left a newer checkpoint it always "
        "does",
    )
    full_disk_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1800.0,
        description="a checkpoint waits so long for room on a full disk before training ends",
    )
    threads_per_rank: Annotated[int, Field(ge=0)] = Field(
        description="of the data pipeline and the CPU operators; 0: cores / ranks. With "
        "training.virtual_ranks sums on a CPU are cut among so many threads, 0: one, as other "
        "numbers round otherwise"
    )
    operators: Literal["auto", "native", "plain"] = Field(
        description="native: this project's CPU operators, compiled on first use; plain: "
        "MindSpore's; auto: native on a CPU with a C++ compiler"
    )
    engine: Annotated[str, one_of(ENGINES, "auto")] = Field(
        description="what evaluates; auto: OpenVINO on a CPU where it is installed"
    )

    @model_validator(mode="after")
    def _fits_its_engine(self) -> Devices:
        if self.engine != "auto":
            ENGINES.load(self.engine).check(self)
        return self


def _expect_range(name: str, values: Range, most: float | None = None) -> None:
    low, high = values
    if not 0 < low <= high:
        raise ValueError(f"{name} must be 0 < low <= high, got [{low}, {high}]")
    if most is not None and high > most:
        raise ValueError(f"{name} must not exceed {most}, got {high}")
