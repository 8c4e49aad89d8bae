"""What a file of weights holds besides the network, told by names alone.

MindCV's train.py saves its whole training cell: the network's parameters under their own names, and
beside them the optimizer's (`moments.classifier.bias`, `global_step`), moving averages of all of
them, statistics too (`ema.classifier.bias`), the loss scale and counters. Only what is known to be
such is set apart. A slot counts only before the name of a parameter that the network has.

Cells around a network put their names before those of its parameters: `network._backbone.`. What
all of the network's parameters carry is left out. Trainable ones and BatchNorm's statistics are
looked at apart, because an accumulating cell of MindSpore, MindCV's too, renames only the former
(`optimizer.`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

OPTIMIZER, LOSS_SCALE, COUNTERS = "the optimizer", "the loss scale", "counters"
AVERAGES, GRADIENTS = "moving averages", "accumulated gradients"
AS_TRAINED = "the weights as trained"

# nn.Momentum, SGD, Adam, AdamWeightDecay, Lamb, RMSProp, Adagrad, Adadelta, FTRL, Rprop, ASGD,
# AdaFactor, and the experimental ones; MindCV's AdamW, Adan, Lion and NAdam.
_OPTIMIZER_SLOTS = """
    moments moment moment1 moment2 moment3 accum accum_update stat adam_m adam_v vhat lamb_m lamb_v
    lion_m nadam_m nadam_v prev_gradient prev step_size mean_grad mean_square linear ax_ exp_avg
    exp_avg_sq max_exp_avg_sq exp_inf square_avg grad_avg momentum_buffer
"""
_OPTIMIZER_NUMBERS = """
    global_step momentum beta1_power beta2_power mu_schedule afactor_step state_step step_t
"""
_SCALE_NUMBERS = "scale_sense scale_value current_iterator_step last_overflow_iterator_step"
_COUNTERS = "updates accumulation_step graceful_exit graceful_init"
AVERAGES_SLOT = "ema"
# A parameter's own name follows, after a dot.
_SLOTS: Mapping[str, str] = {
    **dict.fromkeys(_OPTIMIZER_SLOTS.split(), OPTIMIZER),
    AVERAGES_SLOT: AVERAGES,
    "grad_accumulation": GRADIENTS,
    "accu_grads": GRADIENTS,
}
# A parameter's own name follows at once.
_JOINED = ("mu_product_", "mu_", "eta_", "exp_avg_sq_row_", "exp_avg_sq_col_", "exp_avg_sq_")
_ALONE: Mapping[str, str] = {
    **dict.fromkeys(_OPTIMIZER_NUMBERS.split(), OPTIMIZER),
    **dict.fromkeys(_SCALE_NUMBERS.split(), LOSS_SCALE),
    **dict.fromkeys(_COUNTERS.split(), COUNTERS),
}
_RATE = re.compile(r"(learning_rate|lr)(_group)?(_\d+)?(\.learning_rate)?")
_CELLS = """
    network _network net _net backbone _backbone module _module model _model train_network _orig_mod
"""
WRAPPERS = frozenset(_CELLS.split())
"""What cells and modules around a network put before its names; the last is torch.compile's."""
# Such a cell as well, but only of an optimizer's parameters, which trainable weights are.
_OPTIMIZERS = frozenset(("optimizer", "opt", "gradient_accumulation"))
_STATISTICS = (".moving_mean", ".moving_variance")
# PyTorch counts the batches that a BatchNorm has seen.
_BATCHES = ".num_batches_tracked"


@dataclass(frozen=True)
class Parts:
    """Holds a file's names, sorted by what they are.

    Attributes:
        weights, averages: name in the network -> name in the file.
        left_out: what else was recognised: what it is -> how many.
        unknown: names in the file that are neither.
        prefixes: what stands before the weights' names; more than one where that is unclear.
    """

    weights: dict[str, str]
    averages: dict[str, str]
    left_out: Counter[str]
    unknown: list[str]
    prefixes: tuple[str, ...] = field(default=())

    def sentence(self, *, ema: bool, how: str) -> str:
        """Says in one line what is not used of the file; "" if all of it is.

        Args:
            ema: whether the averages are what is used.
            how: what takes the averages, as in "--ema".
        """
        counts = Counter(self.left_out)
        if ema:
            counts[AS_TRAINED] = len(self.weights)
        elif self.averages:
            counts[AVERAGES] = len(self.averages)
        if not counts:
            return ""
        (what, most), *others = counts.most_common()
        rows = [f"{most:,} parameters of {what}", *(f"{n:,} of {other}" for other, n in others)]
        said = f"left out of a training's state: {', '.join(rows)}"
        if ema:
            return f"the moving averages are taken; {said}"
        whole = self.averages.keys() >= self.weights.keys()
        return f"{said}; {how} takes the averages" if self.averages and whole else said


def parts_of(names: Collection[str], network: Collection[str]) -> Parts:
    """Sorts the names in a file of weights.

    Args:
        network: names of all of the network's parameters.
    """
    wanted = frozenset(network)
    averages: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    rest: list[str] = []
    for name in names:
        if name in wanted:
            rest.append(name)
            continue
        what, inner = _recognised(_bare(name, WRAPPERS | _OPTIMIZERS, wanted), wanted)
        if what == AVERAGES:
            averages[inner] = name
        elif what:
            left_out[what] += 1
        else:
            rest.append(name)
    weights: dict[str, str] = {}
    prefixes: list[str] = []
    for group in _groups(wanted):
        found = _prefixes(rest, group)
        prefixes += [prefix for prefix in found if prefix not in prefixes]
        if len(found) == 1:
            (prefix,) = found
            weights |= {
                inner: name
                for name in rest
                if name.startswith(prefix) and (inner := name[len(prefix) :]) in group
            }
    used = set(weights.values())
    unknown = [name for name in rest if name not in used]
    return Parts(weights, averages, left_out, unknown, tuple(prefixes))


def bare_names(names: Iterable[str], cells: Collection[str]) -> dict[str, str]:
    """Finds the network's parameters in a file whose network is not known yet.

    Args:
        cells: what the network's names begin with, up to the first dot.

    Returns:
        Name in the network -> name in the file, without averages and an optimizer's state.
    """
    found: dict[str, str] = {}
    for name in names:
        parts = name.split(".")
        while len(parts) > 1 and parts[0] in WRAPPERS | _OPTIMIZERS and parts[0] not in cells:
            del parts[0]
        if parts[0] in cells:
            found.setdefault(".".join(parts), name)
    return found


def _groups(wanted: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Parts the network's names into trainable parameters and BatchNorm's statistics."""
    statistics = frozenset(name for name in wanted if name.endswith(_STATISTICS))
    return wanted - statistics, statistics


def _prefixes(names: Iterable[str], group: frozenset[str]) -> list[str]:
    """Returns what the names of a group carry before them: [""] where any stands as it is."""
    found: list[str] = []
    for name in names:
        if name in group:
            return [""]
        inner = _bare(name, WRAPPERS | _OPTIMIZERS, group)
        prefix = name[: len(name) - len(inner)]
        if inner in group and prefix not in found:
            found.append(prefix)
    return found


def _bare(name: str, wrappers: Collection[str], wanted: Collection[str]) -> str:
    """Returns a name without the wrapping cells' before it."""
    while name not in wanted:
        first, dot, rest = name.partition(".")
        if not dot or first not in wrappers:
            break
        name = rest
    return name


def _recognised(name: str, wanted: Collection[str]) -> tuple[str, str]:
    """Returns what a name belongs to, and which parameter of the network; "" if unknown."""
    if name in _ALONE:
        return _ALONE[name], ""
    if _RATE.fullmatch(name):
        return OPTIMIZER, ""
    if name.endswith(_BATCHES):
        return COUNTERS, ""
    slot, dot, inner = name.partition(".")
    inner = _bare(inner, WRAPPERS | _OPTIMIZERS, wanted)
    if dot and slot in _SLOTS and inner in wanted:
        return _SLOTS[slot], inner
    for start in _JOINED:
        if name.startswith(start):
            inner = _bare(name[len(start) :], WRAPPERS | _OPTIMIZERS, wanted)
            if inner in wanted:
                return OPTIMIZER, inner
    return "", ""
