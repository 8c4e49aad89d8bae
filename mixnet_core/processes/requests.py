"""What jobs are given and return; see `processes.child` and `processes.launch`.

A request holds its recipe, not the name of a file: what the run's `recipe.yaml` says may change
while a job starts.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from mixnet_core.model.native.choice import Operators
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.runs.values import FetchedWeights, PreparedDataset, Value


class TrainRequest(Value):
    """Holds what `python -m mixnet_core.train` is given.

    Attributes:
        recipe: what to train.
        run_dir: path of the run's folder; see `runs.run_dir.RunDir`.
        dataset: the prepared dataset.
        weights: the initial weights; None: freshly drawn ones.
        threads: CPU threads of this rank.
        operators: MindSpore's or this project's; see `model.mixnet.build_model`.
        resume_from: folder of the bundle to go on from; None: from the start.
        left_out: steps, from 1, whose batches are not trained on; see `runs.diverged`.
    """

    recipe: Recipe
    run_dir: str
    dataset: PreparedDataset
    weights: FetchedWeights | None
    threads: int
    operators: Operators
    resume_from: str | None = None
    left_out: tuple[int, ...] = ()


class CollectiveRequest(Value):
    """Holds what `python -m mixnet_core.train.collective` is given.

    Attributes:
        target: as devices.target.
        ranks: how many there are, one on each host.
        elements: float32 numbers that are summed over them.
        repeats: how often that is timed.
    """

    target: str
    ranks: int
    elements: int
    repeats: int


class CollectiveResult(Value):
    """Says what rank 0 saw of it.

    Attributes:
        seconds: median of one all-reduce, until the sum is in the host's memory.
    """

    seconds: float


class PackRequest(Value):
    """Holds what `python -m mixnet_core.data.mindrecord` is given.

    Attributes:
        folder: of the dataset in the making, with its indexes; the shards are written there.
        images: the folder that the indexes' paths start from.
        shard_bytes: of images, at most, in a shard of several.
        progress: path of a JSON-lines file that is written anew; a row is {"done", "total"}, where
            an image counts twice: once written, once read back. None: no such file is written.
    """

    folder: str
    images: str
    shard_bytes: int
    progress: str | None = None


class Shard(Value):
    """Describes a file of a dataset in MindRecord layout.

    Attributes:
        file: its name.
        bytes: its size.
        sha256: hex.
    """

    file: str
    bytes: int
    sha256: str


class PackedDataset(Value):
    """Holds what packing wrote.

    Attributes:
        shards: split -> its shards, in order.
    """

    shards: dict[str, tuple[Shard, ...]]


class AverageRequest(Value):
    """Holds what `python -m mixnet_core.train.average` is given.

    Attributes:
        recipe: what the checkpoints were trained by.
        dataset: root of the prepared dataset, from whose training images statistics are estimated.
        files: weights files of one network.
        folder: where the mean's weights.ckpt goes; the folder appears with the file in it.
        images: how many training images are used at least, up to an epoch's.
        classes: width of the classifier.
        threads, operators: as for `TrainRequest`.
        progress: path of a JSON-lines file that is written anew; a row is {"done", "total"} images.
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
    """Holds what averaging wrote.

    Attributes:
        sha256: hex, of the weights file.
    """

    sha256: str


class LookRequest(Value):
    """Holds what `python -m mixnet_core.evaluate.look` is given.

    Attributes:
        file: path of a weights file.
        ema: whether its moving averages are wanted.
    """

    file: str
    ema: bool = False


class LookResult(Value):
    """Holds what a file of weights says of its network.

    Attributes:
        variant: None where the file does not show it.
        num_classes: width of the classifier.
        in_channels: of the images.
        image_size: pixels, where the file fixes them.
        left_out: in one line, what else the file holds; "" if nothing.
        said: keys and texts in an .onnx file.
    """

    variant: str | None
    num_classes: int
    in_channels: int
    image_size: int | None = None
    left_out: str = ""
    said: Mapping[str, str] = Field(default_factory=dict)


class EvaluateRequest(Value):
    """Holds what `python -m mixnet_core.evaluate` is given.

    Attributes:
        recipe: says the network, its input and the device.
        dataset: root of the prepared dataset.
        split: train, select or val.
        weights: weights files, each of which is measured on the whole split.
        classes: width of the classifier.
        batch: images between two rows of progress.
        threads: of the data pipeline, and of OpenVINO.
        answers: folder for what the ranks judged; see `evaluate.prediction_files`.
        progress: path of a JSON-lines file that is written anew; its rows: see `evaluate.scoring`.
        workers: ranks that share the split; more than one are started by msrun.
        each: how many of them are on each host; None: all.
        columns: of the logits, one for each label of the dataset; None: they are in its order.
        ema: whether the moving averages in the files are measured, not the weights beside them.
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
    each: int | None = Field(default=None, ge=1)
    columns: tuple[int, ...] | None = None
    ema: bool = False


class EvaluateResult(Value):
    """Holds how measuring went; the answers themselves are in the request's folder.

    Attributes:
        images_per_second: over all weights files and ranks, decoding included, loading and
            compiling left out.
        engine: what computed the logits: "openvino 2026.4.1, CPU, float32".
    """

    images_per_second: float
    engine: str


class PredictRequest(Value):
    """Holds what `python -m mixnet_core.evaluate.predicting` is given.

    Attributes:
        recipe: says the network, its input and the device.
        weights: the file.
        ema: whether the moving averages in it are taken, not the weights beside them.
        classes: width of the classifier.
        top: classes that are told of each image, at most the width.
        pictures: path of the list of pictures; see `evaluate.picture_list`.
        images: how many it has.
        batch: images between two rows of progress.
        threads: of decoding, and of OpenVINO.
        features: path of the .npy file for the images' features; None: they are not wanted.
        progress: path of a JSON-lines file that is written anew; its rows: see
            `evaluate.predicting`.
    """

    recipe: Recipe
    weights: str
    ema: bool = False
    classes: int = Field(ge=1)
    top: int = Field(ge=1)
    pictures: str
    images: int = Field(ge=1)
    batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    features: str | None = None
    progress: str


class PredictResult(Value):
    """Holds how predicting went; the predictions are the rows of progress.

    Attributes:
        images_per_second: decoding included, loading and compiling left out.
        engine: what computed the logits: "openvino 2026.4.1, CPU, float32".
    """

    images_per_second: float
    engine: str
