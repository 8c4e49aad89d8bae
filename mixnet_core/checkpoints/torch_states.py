"""The state-dict in what PyTorch saved, and the moving averages beside it.

People save a state-dict by itself, or a training's dict with one in it. Of everything else only how
many tensors there are is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixnet_core.checkpoints.pickled import Inert
from mixnet_core.checkpoints.torch_tensors import TorchTensor
from mixnet_core.checkpoints.training_state import AVERAGES_SLOT, COUNTERS, OPTIMIZER
from mixnet_core.errors import InputError
from mixnet_core.storage.uris import shown

OTHERS = "other tensors"


# What training programs call the dicts: timm, torchvision, fairseq, Lightning, MMEngine, BasicSR.
_WEIGHTS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params")
_AVERAGES = ("state_dict_ema", "model_ema", "model_ema_state_dict", "ema_state_dict", "params_ema")
_AVERAGES_TOO = ("ema_model", "ema")
_OPTIMIZERS = ("optimizer", "optimizers", "optimizer_states", "optimizer_state_dict", "optim")
# torch.optim.swa_utils' count of what it averaged.
_COUNT = "n_averaged"
_MOST_TENSORS = 1_000_000


@dataclass(frozen=True)
class StateDict:
    tensors: dict[str, TorchTensor]
    left_out: Counter[str] = field(default_factory=Counter)


def find_state(path: Path, top: Any) -> StateDict:
    """Finds the state-dict, and the averages beside it."""
    if not isinstance(top, dict):
        raise InputError(
            f"{shown(str(path))} holds {_what(top)}, expected a state-dict: save it as "
            "torch.save(model.state_dict(), PATH)"
        )
    state = StateDict({})
    # First: beside them a training keeps single tensors, such as the best top-1.
    weights = next((key for key in _WEIGHTS if _is_state(top.get(key))), None)
    known = (*_AVERAGES, *_AVERAGES_TOO)
    averages = next((key for key in known if _is_state(top.get(key))), None)
    if weights is None and averages is None and _is_state(top):
        _add(state, top, "")
        return state
    if weights is None and averages is None:
        keys = ", ".join(shown(str(key)[:40]) for key in list(top)[:8])
        raise InputError(
            f"{shown(str(path))} holds no state-dict: expected tensors by name, or a dict with "
            f"them under {', '.join(_WEIGHTS[:3])}; it has {keys or 'nothing'}"
        )
    if weights is not None:
        _add(state, top[weights], "")
    if averages is not None:
        # The only network in a file is what is meant.
        _add(state, top[averages], f"{AVERAGES_SLOT}." if weights is not None else "")
    seen: set[int] = set()
    for key, value in top.items():
        if key not in (weights, averages):
            what = OPTIMIZER if key in _OPTIMIZERS else OTHERS
            state.left_out[what] += sum(1 for _ in _tensors(value, seen))
    return StateDict(state.tensors, +state.left_out)


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, TorchTensor) for item in value.values())


def _add(state: StateDict, values: dict[Any, Any], before: str) -> None:
    seen: set[int] = set()
    for name, value in values.items():
        if name == _COUNT:
            state.left_out[COUNTERS] += 1
        elif isinstance(value, TorchTensor) and isinstance(name, str) and name:
            state.tensors[before + name] = value
        else:
            state.left_out[OTHERS] += sum(1 for _ in _tensors(value, seen))


def _tensors(value: Any, seen: set[int]) -> Iterator[TorchTensor]:
    """Yields the tensors in nested data, each object once: it may hold itself.

    Args:
        seen: the ids of what was looked at already, which is added to.
    """
    waiting: list[Any] = [value]
    while waiting and len(seen) < _MOST_TENSORS:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, TorchTensor):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item


def _what(value: Any) -> str:
    if isinstance(value, Inert):
        return f"a {value.name}"
    return "one tensor" if isinstance(value, TorchTensor) else f"a {type(value).__name__}"
