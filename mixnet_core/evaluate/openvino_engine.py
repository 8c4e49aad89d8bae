"""Logits from OpenVINO on the CPU, in float32, from the network that `onnx_export` writes.

Images go in as uint8 (N, S, S, C); converting, normalising and the change of layout are part of the
compiled graph, so Python touches no float of an image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixnet_core.checkpoints.store import load_weights
from mixnet_core.data.batches import PixelBatch, evaluation_pixels
from mixnet_core.data.reading import ImageSet
from mixnet_core.errors import MachineError
from mixnet_core.evaluate.engine import BatchLogits
from mixnet_core.evaluate.onnx_export import IMAGES, network_graph, plain_network
from mixnet_core.evaluate.openvino_package import import_openvino, openvino_core
from mixnet_core.processes.child import still_working
from mixnet_core.recipe.recipe import Recipe

# Per stream: one computes while the next already waits, or a stream would idle until Python has
# collected the oldest logits (4 % of 280 img/s); a third gains nothing.
_REQUESTS_PER_STREAM = 2


class OpenvinoEngine:
    """Implements `engine.Engine`: compiles a model for every weights file, in 0.3 s."""

    def __init__(self, recipe: Recipe, classes: int, *, batch: int, threads: int) -> None:
        self._settle(recipe, classes, batch=batch, threads=threads)
        self._graph = network_graph(recipe, classes)
        self._net = plain_network(recipe, classes)

    def _settle(self, recipe: Recipe, classes: int, *, batch: int, threads: int) -> None:
        """Sets up all that does not depend on where the network comes from."""
        self.name = f"openvino {metadata.version('openvino')}, CPU, float32"
        self._recipe = recipe
        self._batch = batch
        self._threads = threads
        self._classes = classes
        self._pass = images_per_pass(recipe, batch)
        self._openvino = import_openvino()
        self._requests: list[Any] = []
        self._features = False

    def load(self, weights: Path, *, ema: bool = False, features: bool = False) -> None:
        """Compiles the network with a file's weights in it.

        Raises:
            InputError, IntegrityError, CheckpointMismatch: as `Engine.load`.
            MachineError: OpenVINO refuses the network.
        """
        self._features = features
        load_weights(self._net, weights, ema=ema)
        values = {parameter.name: parameter.asnumpy() for parameter in self._net.get_parameters()}
        self._take(lambda: self._compiled(values))

    def _take(self, compile_model: Callable[[], Any]) -> None:
        """Compiles a model and makes its requests the engine's."""
        try:
            compiled = compile_model()
            streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            self._requests = [
                compiled.create_infer_request() for _ in range(_REQUESTS_PER_STREAM * streams)
            ]
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise MachineError(
                f"{self.name} does not take the network that mindspore "
                f"{metadata.version('mindspore')} or another exported ({reason}): set "
                "devices.engine to mindspore, where the weights are no .onnx"
            ) from error

    def logits(self, images: ImageSet, positions: NDArray[np.int32]) -> Iterator[BatchLogits]:
        """Yields the logits of the images at these positions, as `Engine.logits`.

        Several passes are under way at a time; they are collected in the order of the images.
        """
        free = deque(self._requests)
        running: deque[_Pass] = deque()
        try:
            for batch in self._pixels(images, positions):
                logits = np.empty((len(batch.labels), self._classes), np.float32)
                features = self._empty_features(len(logits))
                whole = BatchLogits(logits, batch.labels, batch.positions, features)
                for start in range(0, len(logits), self._pass):
                    if not free:
                        done = running.popleft()
                        done.collect()
                        free.append(done.request)
                        if done.completes is not None:
                            yield done.completes
                    end = min(start + self._pass, len(logits))
                    request = free.popleft()
                    # A shorter pass leaves the images of an earlier one in the rest of the input:
                    # each image's logits depend on that image alone.
                    request.get_input_tensor().data[: end - start] = batch.images[start:end]
                    request.start_async()
                    last = whole if end == len(logits) else None
                    part = None if features is None else features[start:end]
                    running.append(_Pass(request, logits[start:end], part, last))
            while running:
                done = running.popleft()
                done.collect()
                if done.completes is not None:
                    yield done.completes
        finally:
            # Whoever stops early must not leave requests that write into freed memory.
            for left in running:
                left.request.wait()

    def _empty_features(self, images: int) -> NDArray[np.float32] | None:
        if not self._features:
            return None
        # Of the model: a request that is under way tells nothing.
        width = self._requests[0].get_compiled_model().output(1).get_shape()[1]
        return np.empty((images, width), np.float32)

    def _pixels(self, images: ImageSet, positions: NDArray[np.int32]) -> Iterator[PixelBatch]:
        return evaluation_pixels(
            images,
            positions,
            self._recipe,
            batch=self._batch,
            # As many as compute, though both share the cores: decoding is 28 % of a photograph's
            # work (2.0 of 7.1 ms), waits when it is ahead, and keeps every core busy. With one
            # thread fewer the engine waits in turn: 267 instead of 280 img/s.
            threads=self._threads,
        )

    def _compiled(self, values: dict[str, NDArray[np.float32]]) -> Any:
        """Compiles the graph with `values` in it as a model that takes pixels."""
        openvino, core = self._openvino, openvino_core()
        model = core.read_model(self._graph)
        inputs = {node.get_friendly_name(): node for node in model.get_parameters()}
        images = inputs.pop(IMAGES)
        if inputs.keys() != values.keys():
            odd = sorted(inputs.keys() ^ values.keys())
            raise RuntimeError(f"{len(odd)} parameters have other names, the first is {odd[0]}")
        for name, node in inputs.items():
            constant = openvino.op.Constant(values[name])
            node.output(0).replace(constant.output(0))
            model.remove_parameter(node)
        return self._for_pixels(core, model, images.output(0))

    def _for_pixels(self, core: Any, model: Any, images: Any) -> Any:
        """Compiles a model whose input `images` is (N, C, S, S) float32 for passes of uint8."""
        openvino, settings = self._openvino, self._recipe.input
        size, channels = settings.image_size, self._recipe.network.in_channels
        model.reshape({images: [self._pass, channels, size, size]})
        if self._features:
            model.add_outputs([classifiers_input(model)])
        prepared = openvino.preprocess.PrePostProcessor(model)
        prepared.input().tensor().set_element_type(openvino.Type.u8)
        prepared.input().tensor().set_layout(openvino.Layout("NHWC"))
        prepared.input().model().set_layout(openvino.Layout("NCHW"))
        steps = prepared.input().preprocess().convert_element_type(openvino.Type.f32)
        # One grey channel uses the first of three.
        steps.mean(list(settings.mean[:channels])).scale(list(settings.std[:channels]))
        return core.compile_model(
            prepared.build(),
            "CPU",
            {
                # Where a CPU has bfloat16, OpenVINO would choose it, and other figures with it.
                "INFERENCE_PRECISION_HINT": "f32",
                # One stream per core, each with its own image: 10 % over all cores on one.
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_NUM_THREADS": self._threads,
            },
        )


@dataclass(frozen=True)
class _Pass:
    """Holds a forward pass under way.

    Attributes:
        request: OpenVINO's, which computes it.
        logits: a view into its batch's, which it fills.
        features: likewise; None where they were not asked for.
        completes: that batch's logits, if this is its last pass.
    """

    request: Any
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None
    completes: BatchLogits | None

    def collect(self) -> None:
        """Waits for the pass and copies its logits into the batch's."""
        self.request.wait()
        self.logits[:] = self.request.get_output_tensor(0).data[: len(self.logits)]
        if self.features is not None:
            self.features[:] = self.request.get_output_tensor(1).data[: len(self.features)]
        # A batch may be as large as somebody likes, and takes as long.
        still_working()


def classifiers_input(model: Any) -> Any:
    """Finds what a model's last layer is given: the output of (N, F) features.

    Raises:
        MachineError: it ends in no product of features and weights, as a quantised one may.
    """
    last = model.output(0).get_node().input_value(0).get_node()
    nodes = [last]
    while nodes:
        node = nodes.pop()
        kind = node.get_type_name()
        if kind == "MatMul" and len(node.input_value(0).get_partial_shape()) == 2:
            return node.input_value(0)
        # ONNX's Gemm is a product, its factor, and a bias with another one.
        if kind in ("Add", "Multiply"):
            nodes += [node.input_value(side).get_node() for side in range(2)]
    raise MachineError(
        f"no features before the classifier: the network ends in {last.get_type_name()}, expected "
        "a product with its weights: give the .ckpt or .safetensors that it was exported from"
    )


def images_per_pass(recipe: Recipe, batch: int) -> int:
    """Returns how many images one forward pass takes: a power of two up to `batch`.

    It is one at 224x224, whose activations then stay in the cache: 390 img/s against 355 with eight
    and 260 with 32. Small images go several at a time, or the calls cost more than the computing.
    """
    pixels = (recipe.input.image_size * 2 // recipe.network.stem_stride) ** 2
    images = 1
    while 2 * images <= batch and 2 * images * pixels <= 112**2:
        images *= 2
    return images
