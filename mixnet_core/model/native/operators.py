"""MindSpore cells around the compiled operators; each computes what a plain formulation would.

Letters: N images, C channels, H and W rows and columns, s stride, k kernel size. All tensors are
float32. Gradients are the cells' own (`bprop`), in graph and PyNative mode.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import mindspore
from mindspore import Tensor, nn, ops

from mixnet_core.model.native.build import library

Activation = Literal["none", "relu", "swish"]


def _operator(name: str, shape: Any, dtype: Any = None, *, stride: int = 0) -> ops.Custom:
    """Loads the library's operator `name`; `shape` and `dtype` infer its outputs from its inputs.

    In PyNative mode operators of equal names and attributes share what was inferred once for equal
    inputs: a stride that decides on the outputs has to be an attribute.
    """
    path: Path = library()
    operator = ops.Custom(f"{path}:{name}", shape, dtype or shape, func_type="aot")
    operator.add_prim_attr("stride", stride)
    return operator


def _second(first: Any, second: Any, *rest: Any) -> Any:
    return second


def _first(first: Any, *rest: Any) -> Any:
    return first


def _weights(dy: Any, x: Any, *weights: Any) -> Any:
    return weights if len(weights) > 1 else weights[0]


class MixConv(nn.Cell):
    """Computes MixConv: (x (N, C, H, W), weights ((c, 1, k, k), ...)) -> (N, C, H', W').

    H' is ceil(H / s), W' ceil(W / s). The first c channels are convolved with the first weights,
    and so on; the c add up to C.

    Args:
        parts: how many weights there are.
        stride: s.
        padding: "symmetric": k // 2 on each side; "same": TensorFlow's SAME.
    """

    def __init__(self, parts: int, stride: int, padding: Literal["symmetric", "same"]) -> None:
        super().__init__()

        def shape(x: Any, *weights: Any) -> Any:
            return [x[0], x[1], -(-x[2] // stride), -(-x[3] // stride)]

        self.forward = _operator(f"mixconv_forward_{padding}", shape, _first, stride=stride)
        self.input_gradient = _operator(f"mixconv_input_gradient_{padding}", _second)
        self.weight_gradient = _operator(f"mixconv_weight_gradient_{padding}", _weights)
        self.single = parts == 1

    def construct(self, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        return self.forward(x, *weights)

    def bprop(
        self, x: Tensor, weights: tuple[Tensor, ...], out: Tensor, dout: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        gradients = self.weight_gradient(dout, x, *weights)
        if self.single:
            gradients = (gradients,)
        return self.input_gradient(dout, x, *weights), gradients


class StemConv(nn.Cell):
    """Convolves images: (x (N, C, H, W), weights (O, C, k, k)) -> (N, O, ceil(H / s), ceil(W / s)).

    It is fast where C is small. Padding is k // 2 on each side.

    Args:
        stride: s.
        kernel: k.
        out_channels: O.
    """

    def __init__(self, stride: int, kernel: int, out_channels: int) -> None:
        super().__init__()

        def shape(x: Any, weights: Any) -> Any:
            return [x[0], weights[0], -(-x[2] // stride), -(-x[3] // stride)]

        def weights_of(dy: Any, x: Any, weights: Any) -> Any:
            return weights

        self.forward = _operator("stem_forward", shape, _first, stride=stride)
        self.weight_gradient = _operator("stem_weight_gradient", weights_of)
        # Training asks for no gradient of the images; what asks for one all the same gets it.
        self.input_gradient = ops.Conv2DTranspose(
            out_channels, kernel, pad_mode="pad", pad=kernel // 2, stride=stride
        )

    def construct(self, x: Tensor, weights: Tensor) -> Tensor:
        return self.forward(x, weights)

    def bprop(self, x: Tensor, weights: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return (
            self.input_gradient(dout, weights, ops.shape(x)),
            self.weight_gradient(dout, x, weights),
        )


class Scale(nn.Cell):
    """Scales planes: (x (N, C, H, W), gate (N, C, 1, 1)) -> x * gate."""

    def __init__(self) -> None:
        super().__init__()

        def both(dy: Any, x: Any, gate: Any) -> Any:
            return x, gate

        self.forward = _operator("scale_forward", _first)
        self.backward = _operator("scale_backward", both)

    def construct(self, x: Tensor, gate: Tensor) -> Tensor:
        return self.forward(x, gate)

    def bprop(self, x: Tensor, gate: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return self.backward(dout, x, gate)


class NormActTraining(nn.Cell):
    """Normalises x by its own statistics, and activates it.

    (x (N, C, H, W), gamma (C,), beta (C,)) -> (y (N, C, H, W), pooled (N, C, 1, 1), mean (C,),
    variance (C,)). pooled is the mean of each of y's planes; variance is biased. No gradient flows
    through mean and variance as outputs.

    Args:
        activation: applied last.
        epsilon: added to the variance.
    """

    def __init__(self, activation: Activation, epsilon: float) -> None:
        super().__init__()
        self.epsilon = Tensor([epsilon], mindspore.float32)

        def outputs(x: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
            return x, [x[0], x[1], 1, 1], gamma, gamma

        def output_types(x: Any, *rest: Any) -> Any:
            return x, x, x, x

        def gradients(
            dy: Any, dpooled: Any, x: Any, gamma: Any, beta: Any, *statistics: Any
        ) -> Any:
            return x, gamma, beta

        self.forward = _operator(f"norm_act_train_forward_{activation}", outputs, output_types)
        self.backward = _operator(f"norm_act_train_backward_{activation}", gradients)

    def construct(
        self, x: Tensor, gamma: Tensor, beta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.forward(x, gamma, beta, self.epsilon)

    def bprop(
        self, x: Tensor, gamma: Tensor, beta: Tensor, out: Any, dout: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.backward(dout[0], dout[1], x, gamma, beta, out[2], out[3], self.epsilon)


class NormActInference(nn.Cell):
    """Normalises x by given statistics, and activates it.

    (x, gamma, beta, mean, variance) -> (y, pooled), of the shapes of `NormActTraining`. No gradient
    flows through mean and variance.

    Args:
        activation: applied last.
        epsilon: added to the variance.
    """

    def __init__(self, activation: Activation, epsilon: float) -> None:
        super().__init__()
        self.epsilon = Tensor([epsilon], mindspore.float32)
        self.activation = activation

        def outputs(x: Any, *rest: Any) -> Any:
            return x, [x[0], x[1], 1, 1]

        def output_types(x: Any, *rest: Any) -> Any:
            return x, x

        self.forward = _operator(f"norm_act_infer_forward_{activation}", outputs, output_types)

    def construct(
        self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.forward(x, gamma, beta, mean, variance, self.epsilon)

    def bprop(
        self,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        out: Any,
        dout: Any,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        # Only frozen BatchNorms need this gradient: it is not worth an operator of its own.
        rstd = ops.rsqrt(variance + self.epsilon)
        normal = (x - _per_channel(mean)) * _per_channel(rstd)
        dz = dout[0] + dout[1] / (x.shape[2] * x.shape[3])
        z = normal * _per_channel(gamma) + _per_channel(beta)
        if self.activation == "relu":
            dz = dz * ops.cast(z > 0, mindspore.float32)
        elif self.activation == "swish":
            s = ops.sigmoid(z)
            dz = dz * (s + z * s * (1 - s))
        return (
            dz * _per_channel(gamma * rstd),
            (dz * normal).sum((0, 2, 3)),
            dz.sum((0, 2, 3)),
            ops.zeros_like(mean),
            ops.zeros_like(variance),
        )


def _per_channel(values: Tensor) -> Tensor:
    return ops.reshape(values, (1, -1, 1, 1))
