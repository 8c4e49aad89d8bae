"""Networks in memory: of a recipe, with weights of a file or of a release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.data.given import (
    GivenImage,
    GivenImages,
    given_one_by_one,
    name_of,
    reader_of,
)
from mixnet_core.errors import InputError, UnusableImage
from mixnet_core.evaluate.job import BATCH, threads_of
from mixnet_core.evaluate.prediction import Prediction, best, names_of
from mixnet_core.evaluate.predictor import Computed, Predictor
from mixnet_core.recipe.recipe import Recipe
from mixnet_core.stages.named_weights import find_released
from mixnet_core.stages.options import open_workspace, registry_uri
from mixnet_core.stages.release_to_measure import Released
from mixnet_core.storage.uris import refuse_credentials, shown

if TYPE_CHECKING:
    from mixnet_core.model.mixnet import MixNet

# Images whose readers are held at a time; between two parts the engine runs empty.
_PART = 4096
# Before the classifier, of every variant.
_FEATURES = 1536


@dataclass(frozen=True, eq=False)
class LoadedRelease:
    """A release, a run's checkpoint or a file, which tells what is on images.

    Images are paths, Pillow's images or uint8 arrays, one or many of them: (H, W, 3) RGB,
    (N, H, W, 3), or (H, W) grey, 0 to 255. Paths are read as evaluation reads its images; all are
    resized and cropped as the release's recipe says. Compiling takes seconds, at the first call.

    Letters: N images, C classes, F features of an image before the classifier (1536), S pixels of
    `recipe.input.image_size`.

    Attributes:
        released: what was found, and where its weights are.

    Example:
        >>> import mixnet_core
        >>> model = mixnet_core.load_release("tiny")
        >>> from PIL import Image
        >>> prediction = model.predict(Image.new("RGB", (64, 48)))[0]
        >>> len(prediction.classes), len(prediction.probabilities), prediction.error
        (5, 5, '')
        >>> model.features([Image.new("RGB", (64, 48)), Image.new("L", (8, 8))]).shape
        (2, 1536)
    """

    released: Released
    _predictors: dict[tuple[bool, int], Predictor] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Returns the name of the release, the run or the file."""
        return self.released.name

    @property
    def recipe(self) -> Recipe:
        """Returns its recipe; `recipe.input` says size, crop, mean and std of its images."""
        return self.released.recipe

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Returns the names in label order; None where it does not say them."""
        return self.released.classes

    @property
    def sha256(self) -> str:
        """Returns the hex digest of the weights file, verified."""
        return self.released.sha256

    @cached_property
    def network(self) -> MixNet:
        """Returns the network with its weights, for evaluation.

        (N, in_channels, S, S) float32, normalised -> logits (N, C) float32.

        Raises:
            InputError: it is an .onnx file, which no network of MindSpore is made of.
            MixnetError: as `load_weights`.
        """
        from mixnet_core.checkpoints import store

        if self.released.weights.suffix == ".onnx":
            raise InputError(
                f"{self.released.source} holds no network of MindSpore: predict with it, or load "
                "the .ckpt or .safetensors that it was exported from"
            )
        network = build_network(self.recipe, self.released.num_classes)
        store.load_weights(network, self.released.weights, ema=self.released.ema)
        network.set_train(False)
        return network

    def predict(
        self, images: GivenImage | Iterable[GivenImage], *, top: int = 5
    ) -> list[Prediction]:
        """Says what is on images, in their order.

        An image whose file cannot be read has a prediction too, whose `error` says why.

        Args:
            top: classes told of each image; of fewer classes all.

        Raises:
            InputError: an image is nothing of what is listed above, or top is no number above 0.
            MixnetError: as `Predictor`.
        """
        if top < 1:
            raise InputError(f"top is {top}: expected 1 or more classes of each image")
        names = names_of(self.classes, self.released.num_classes)
        predictions: list[Prediction] = []
        for given, computed in self._computed(images, features=False):
            labels, probabilities = best(computed.logits, min(top, len(names)))
            of: dict[int, Prediction] = {
                position: Prediction(given[position], (), (), error)
                for position, error in computed.unreadable.items()
            }
            for at, position in enumerate(computed.positions.tolist()):
                told = tuple(names[label] for label in labels[at])
                of[position] = Prediction(given[position], told, tuple(probabilities[at].tolist()))
            predictions += (of[position] for position in sorted(of))
        return predictions

    def logits(self, images: GivenImage | Iterable[GivenImage]) -> NDArray[np.float32]:
        """Returns the logits of images, (N, C) float32, classes in label order.

        Raises:
            UnusableImage: a file cannot be read.
            MixnetError: as `predict`.
        """
        parts = [np.empty((0, self.released.num_classes), np.float32)]
        for given, computed in self._computed(images, features=False):
            _expect_read(given, computed)
            parts.append(computed.logits)
        return np.concatenate(parts)

    def features(self, images: GivenImage | Iterable[GivenImage]) -> NDArray[np.float32]:
        """Returns the features of images before the classifier, (N, F) float32.

        Logits are `features @ W.T + b` with the classifier's weight W and bias b.

        Raises:
            UnusableImage: a file cannot be read.
            MachineError: an .onnx file's network does not show where they are.
            MixnetError: as `predict`.
        """
        parts: list[NDArray[np.float32]] = []
        for given, computed in self._computed(images, features=True):
            _expect_read(given, computed)
            assert computed.features is not None, "they were asked for"
            parts.append(computed.features)
        return np.concatenate(parts) if parts else np.empty((0, _FEATURES), np.float32)

    def _computed(
        self, images: GivenImage | Iterable[GivenImage], *, features: bool
    ) -> Iterator[tuple[list[str], Computed]]:
        """Yields the names of a part of the images, with what is computed of a batch of it."""
        every, first = given_one_by_one(images), 0
        while part := list(islice(every, _PART)):
            given = GivenImages([reader_of(image) for image in part])
            names = [name_of(image, first + i) for i, image in enumerate(part)]
            for computed in self._predictor(len(part), features=features)(given):
                yield names, computed
            first += len(part)

    def _predictor(self, images: int, *, features: bool) -> Predictor:
        # A graph of MindSpore computes all of its batch, whatever is in it.
        key = (features, 1 if images == 1 else BATCH)
        if key not in self._predictors:
            released = self.released
            self._predictors[key] = Predictor(
                released.recipe,
                released.weights,
                released.num_classes,
                ema=released.ema,
                features=features,
                batch=key[1],
                threads=threads_of(released.recipe, 1),
            )
        return self._predictors[key]


def _expect_read(given: list[str], computed: Computed) -> None:
    for position, reason in computed.unreadable.items():
        raise UnusableImage(shown(given[position]), reason)


def build_network(recipe: Recipe, classes: int | None = None) -> MixNet:
    """Builds a recipe's network, freshly initialised; seed MindSpore before for a reproducible one.

    Args:
        classes: width of the classifier; None: what the recipe says.

    Raises:
        InputError: neither says how many classes there are.

    Example:
        >>> import mixnet_core
        >>> network = mixnet_core.build_network(mixnet_core.load_recipe("digits"))
        >>> sum(parameter.size for parameter in network.trainable_params())
        2612976
    """
    from mixnet_core.model.mixnet import build_model

    network = recipe.network
    width = classes or network.num_classes
    if width is None:
        raise InputError(
            "network.num_classes is null, as many as the dataset has: say how many as classes"
        )
    return build_model(
        network.variant,
        width,
        network.in_channels,
        flavour=network.flavour,
        stem_stride=network.stem_stride,
    )


def load_weights(network: MixNet, file: str | Path) -> None:
    """Loads a `.ckpt` or `.safetensors` file into a network, every name and shape, or nothing.

    Raises:
        InputError: there is no such file.
        IntegrityError: it cannot be read, or holds values that are no numbers.
        CheckpointMismatch: a parameter is missing, unknown or of another shape.

    Example:
        >>> import glob
        >>> import mixnet_core
        >>> network = mixnet_core.build_network(mixnet_core.load_recipe("digits"))
        >>> (file,) = glob.glob("workspace/releases/tiny/weights-*.ckpt")
        >>> mixnet_core.load_weights(network, file)
    """
    from mixnet_core.checkpoints import store

    refuse_credentials(str(file))
    store.load_weights(network, Path(file))


def load_release(
    name_or_uri: str,
    *,
    registry: str | None = None,
    workspace: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: str | PathLike[str] | None = None,
    ema: bool = False,
) -> LoadedRelease:
    """Fetches a release, a run's checkpoint or a file, and verifies it.

    Args:
        name_or_uri: of a catalog entry, of a release in the registry, a release's URI or copied
            folder, a run's name or folder, or the path of a file .ckpt, .safetensors or .onnx.
        registry: URI or folder; None: the workspace's own.
        workspace: folder that keeps what is fetched; None: $MIXNET_HOME, else ./workspace.
        recipe: of a file that lies in no release or run: how its images are read.
        settings: dotted key -> value over the recipe.
        classes: of a file that names none: file with the names, one a line in label order.
        ema: take the moving averages that a file holds.

    Raises:
        InputError: nothing has this name.
        IntegrityError: what is stored is not what was published.
        MachineError, TransientError: the registry cannot be read.
        MixnetError: as `named_weights.find_released`.

    Example:
        >>> import mixnet_core
        >>> model = mixnet_core.load_release("tiny")
        >>> model.classes
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
        >>> model.predict(["photo.jpg"])[0].error
        'there is no such file'
    """
    opened = open_workspace(workspace)
    found = find_released(
        name_or_uri,
        workspace=opened,
        registry=registry_uri(opened, registry),
        recipe=recipe,
        settings=settings,
        classes=None if classes is None else Path(classes),
        ema=ema,
    )
    # A release that does not say its classes is refused now, not at the first image.
    _ = found.num_classes
    return LoadedRelease(found)
