"""What jobs are given and return; see `processes.child` and `processes.launch`.

A request holds its recipe, not the name of a file: what the run's `recipe.yaml` says may change
while a child starts.
"""

from __future__ import annotations

from pydantic import Field

from mixnet_core.model.native.choice import Operators
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import FetchedWeights, PreparedDataset, Value


class TrainRequest(Value):
    """What `python -m mixnet_core.train` is given.

    Attributes:
        threads: CPU threads of this rank.
        operators: whose; see `model.mixnet.build_model`.
        resume_from: folder of the bundle to go on from; None: from the start.
    """

    recipe: Recipe
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
        dataset: root of the prepared dataset, of whose training images statistics are estimated.
        files: weights files of one network.
        folder: where the mean's weights.ckpt goes; it appears with it.
        images: at least so many, or an epoch.
        classes, threads, operators: as `TrainRequest`.
        progress: path of a JSON-lines file that is begun anew; a row is {"done", "total"} images.
    """

    recipe: Recipe
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
        recipe: says the network, its input and the device.
        dataset: root of the prepared dataset; split: train, select or val.
        weights: weights files, each of which answers to the whole split.
        classes: width of the classifier.
        batch: images between two rows of progress; threads: of the data pipeline, and of OpenVINO.
        answers: folder for what the workers judged; see `evaluate.prediction_files`.
        progress: path of a JSON-lines file that is begun anew; its rows: see `evaluate.scoring`.
        workers: processes that share the split; more than one are started by msrun.
    """

    recipe: Recipe
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
