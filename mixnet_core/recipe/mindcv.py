"""MindCV's recipe files -> our recipes: what its train.py makes of such a file, said in our keys.

From MindCV's code as of July 2025: train.py, config.py, mindcv/data, mindcv/optim, mindcv/utils.
Where the code does something else than the file's text says, the code counts; a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from mixnet_core.errors import RecipeError
from mixnet_core.recipe.mindcv_keys import KEYS, Fault, Values, read_values, shown
from mixnet_core.storage.yaml_files import Document

# A file does not say how many devices: MindCV's launcher does. These are what MixNet's were for.
PUBLISHED_RANKS = 8
# What MindCV loads for `pretrained`, as the catalog names it.
PRETRAINED = {"s": "mixnet_s", "m": "mixnet_m", "l": "mixnet_l"}

_MIXNETS_DROP_RATE = 0.2
_IMAGENET_CLASSES = 1000
_VARIANTS = {f"mixnet_{variant}": variant for variant in "sml"}
_OPTIMIZERS = {"momentum": "momentum", "sgd": "momentum", "adamw": "adamw"}
_INTERPOLATIONS = {
    "bilinear": "bilinear",
    "linear": "bilinear",
    "bicubic": "bicubic",
    "cubic": "bicubic",
}
_OTHER_INTERPOLATIONS = ("nearest", "antialias", "area", "pilcubic")
_AMP_LEVELS = ("O0", "O1", "O2", "O3")
_TARGETS = ("CPU", "Ascend", "GPU")
_ADAMWS_BETA1 = 0.9
_RAND_AUGMENTS_STD = 0.5
_RAND_AUGMENTS_MAX = 10


def is_mindcv(data: dict[str, Any], *, sections: Container[str]) -> bool:
    """Tells whether a file is MindCV's: flat keys, and none of our recipe's `sections`."""
    return not any(key in sections for key in data) and any(key in KEYS for key in data)


def from_mindcv(
    data: dict[str, Any], document: Document | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Turns a MindCV file's keys into a full recipe's, unchecked, with notes of a line each.

    Args:
        document: says the lines that the keys stand in.

    Raises:
        RecipeError: an unknown key, or a value that asks for what is not done here; all are named.
    """
    values, faults, notes = read_values(data)
    asked = _Asked(values, set(data), faults, notes)
    recipe = asked.recipe()
    if faults:
        raise RecipeError("; ".join(f"{_line(key, document)}{what}" for key, what in faults))
    return recipe, notes


class _Asked:
    """One file's values. Each method makes one section and adds to `faults` and `notes`."""

    def __init__(
        self, values: Values, given: set[str], faults: list[Fault], notes: list[str]
    ) -> None:
        self.values, self.given = values, given
        self.faults, self.notes = faults, notes
        self.ranks = PUBLISHED_RANKS if values["distribute"] else 1

    def recipe(self) -> dict[str, Any]:
        model = self.values["model"]
        return {
            "name": model,
            "description": f"{model} as a MindCV recipe file has it",
            "network": self.network(),
            "weights": self.weights(),
            "data": self.data(),
            "input": self.input(),
            "augment": self.augment(),
            "training": self.training(),
            "optimizer": self.optimizer(),
            "schedule": self.schedule(),
            "precision": self.precision(),
            "devices": self.devices(),
        }

    def network(self) -> dict[str, Any]:
        values = self.values
        drop_rate, drop_path_rate = values["drop_rate"], values["drop_path_rate"]
        if drop_path_rate:
            self.note("drop_path_rate", "is honoured here; MindCV's MixNet refuses it")
        return {
            "variant": self.one_of("model", _VARIANTS),
            "flavour": "mindcv",
            "num_classes": values["num_classes"],
            "in_channels": self.one_of("in_channels", _themselves((1, 3))),
            "drop_rate": _MIXNETS_DROP_RATE if drop_rate is None else drop_rate,
            "drop_path_rate": drop_path_rate or 0.0,
            "stem_stride": 2,
        }

    def weights(self) -> dict[str, Any]:
        values = self.values
        starts = values["pretrained"]
        name = PRETRAINED.get(_VARIANTS.get(values["model"], "")) if starts else None
        if starts and values["num_classes"] is None:
            self.notes.append(
                "pretrained without num_classes: the classifier starts afresh; MindCV keeps it "
                "where there are 1000 classes"
            )
        return {
            "name": name,
            "reset_classifier": starts and values["num_classes"] != 1000,
            "freeze": "nothing",
            "ema": False,
        }

    def data(self) -> dict[str, Any]:
        select_share = 0.01
        self.notes.append(
            f"checkpoints are selected on {select_share:.0%} of the training images (data."
            "select_share), which are not trained on; MindCV selects on val and trains on all"
        )
        # Of 1,000 folders, ImageNet's: labels must not depend on which ones are there.
        imagenet = self.values["num_classes"] == _IMAGENET_CLASSES
        return {
            "source": "imagenet" if imagenet else "image_folder",
            "path": str(Path(self.values["data_dir"]).absolute()),
            "train_limit": None,
            "val_share": 0.04,
            "select_share": select_share,
            "split_seed": 0,
            "layout": "in_place" if imagenet else "links",
        }

    def input(self) -> dict[str, Any]:
        values = self.values
        size = values["image_resize"]
        if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
            size = size[0]
        if isinstance(size, bool) or not isinstance(size, int):
            self.fault("image_resize", "expected one whole number, images are square")
        interpolation = values["interpolation"].lower()
        if interpolation in _OTHER_INTERPOLATIONS:
            self.fault("interpolation", "expected bilinear or bicubic")
        elif interpolation not in _INTERPOLATIONS:
            self.note("interpolation", "is unknown to MindCV, which takes bilinear")
        if max(values["mean"]) <= 1 or max(values["std"]) <= 1:
            self.notes.append("mean and std are for pixels in 0..255: these look like 0..1")
        return {
            "image_size": size,
            "crop_pct": values["crop_pct"],
            "interpolation": _INTERPOLATIONS.get(interpolation, "bilinear"),
            "mean": values["mean"],
            "std": values["std"],
        }

    def augment(self) -> dict[str, Any]:
        values = self.values
        jitter = values["color_jitter"]
        if "color_jitter" in self.given and jitter and values["auto_augment"] is not None:
            self.note("color_jitter", "has no effect beside auto_augment")
        erasing = {
            "probability": values["re_prob"],
            "scale": values["re_scale"],
            "ratio": values["re_ratio"],
        }
        return {
            "crop_scale": values["scale"],
            "crop_ratio": values["ratio"],
            "hflip": max(values["hflip"], 0.0),
            "rand_augment": self.rand_augment(),
            "erasing": erasing if values["re_prob"] > 0 else None,
            "mix": self.mix(),
        }

    def rand_augment(self) -> dict[str, Any] | None:
        """MindCV's reading of the policy's text: parts that hold no digit are skipped."""
        policy = self.values["auto_augment"]
        if policy is None:
            return None
        first, *parts = policy.split("-")
        found = [(m[1], m[2]) for part in parts if (m := re.match(r"(\D*)(\d.*)", part))]
        given = dict(found)
        whole = all(given[key].isdigit() for key in ("m", "n", "mmax", "inc") if key in given)
        if first != "randaug" or not given.keys() <= {"m", "n", "mstd", "mmax", "inc"} or not whole:
            self.fault("auto_augment", "expected RandAugment, as in randaug-m9-n2-mstd0.5-inc1")
            return None
        magnitude = int(given.get("m", _RAND_AUGMENTS_MAX))
        if magnitude > _RAND_AUGMENTS_MAX or int(given.get("mmax", 10)) != _RAND_AUGMENTS_MAX:
            self.fault("auto_augment", "magnitudes end at 10, as MindCV's do without mmax")
        if given.get("mstd") != str(_RAND_AUGMENTS_STD):
            self.note("auto_augment", f"has mstd{_RAND_AUGMENTS_STD}: MindCV takes no other")
        if given.get("inc") == "0" or "inc" in parts:
            on = given.get("inc") == "0"
            self.note("auto_augment", f"{'is' if on else 'is not'} increasing as MindCV reads it")
        return {
            "operations": int(given.get("n", 2)),
            "magnitude": magnitude,
            "magnitude_std": _RAND_AUGMENTS_STD,
            "increasing": "inc" in given,
            "flavour": "mindcv",
        }

    def mix(self) -> dict[str, Any] | None:
        mixup, cutmix = self.values["mixup"], self.values["cutmix"]
        probability = self.values["cutmix_prob"]
        if mixup + cutmix <= 0:
            return None
        if probability <= 0:
            if mixup > 0:
                self.note("cutmix_prob", f"switches mixup {shown(mixup)} off too, not only cutmix")
            return None
        if self.values["batch_size"] == 1:
            self.notes.append("mixup and cutmix are off: batch_size is 1")
            return None
        if probability < 1 and mixup > 0:
            self.note("cutmix_prob", "is the probability of mixup too, not only of cutmix")
        return {
            "mixup_alpha": max(mixup, 0.0),
            "cutmix_alpha": max(cutmix, 0.0),
            "probability": min(probability, 1.0),
            "switch_probability": 0.5,
        }

    def training(self) -> dict[str, Any]:
        values = self.values
        batch, parts = values["batch_size"], values["gradient_accumulation_steps"]
        product = batch * self.ranks * parts
        if values["distribute"]:
            self.notes.append(
                "distribute does not say how many devices: taken as "
                f"{self.ranks}, so training.global_batch is {product:,} (--ranks N --scale-lr "
                "for others)"
            )
            self.notes.append(
                "BatchNorm's statistics are the mean over ranks (training.batch_statistics); "
                "MindCV keeps rank 0's"
            )
        if parts > 1 and values["opt"].lower() != "adamw":
            self.note(
                "gradient_accumulation_steps", f"leaves the schedule at its pace; MindCV's moves "
                f"once in {parts} micro-batches, so its rates end far above min_lr"
            )  # fmt: skip
        decay = values["ema_decay"] if values["ema"] else None
        if decay is not None and parts > 1:
            self.note("ema_decay", f"counts steps; MindCV's average moves {parts} times a step")
        policy = values["ckpt_save_policy"]
        if policy not in ("latest_k", "top_k", None):
            self.fault("ckpt_save_policy", "expected latest_k, top_k or null")
        if policy == "top_k":
            self.note("ckpt_save_policy", "is latest_k: select compares the newest checkpoints")
        return {
            "epochs": values["epoch_size"],
            "global_batch": product,
            "label_smoothing": values["label_smoothing"],
            "seed": values["seed"],
            "checkpoint_every_epochs": values["ckpt_save_interval"],
            "checkpoint_every_steps": None,
            "keep_checkpoints": values["keep_checkpoint_max"] if policy else values["epoch_size"],
            "log_every_steps": values["log_interval"],
            "ema_decay": decay,
            "batch_statistics": "averaged",
            "chance_epochs": 3,
        }

    def optimizer(self) -> dict[str, Any]:
        values = self.values
        name = self.one_of("opt", _OPTIMIZERS, str.lower)
        if name == "adamw" and values["momentum"] != _ADAMWS_BETA1:
            self.note("momentum", f"has no effect: MindCV's AdamW has {_ADAMWS_BETA1}")
        if name == "adamw" and values["use_nesterov"]:
            self.note("use_nesterov", "has no effect: MindCV's AdamW has none")
        clip = values["clip_value"] if values["clip_grad"] else None
        if clip is not None:
            self.note(
                "clip_value", "limits the gradient's norm once it is the mean over ranks and "
                "parts; MindCV clips each one's"
            )  # fmt: skip
        elif values["clip_value"] != KEYS["clip_value"].default:
            self.note("clip_value", "has no effect without clip_grad")
        return {
            "name": name,
            "momentum": _ADAMWS_BETA1 if name == "adamw" else values["momentum"],
            "nesterov": values["use_nesterov"] and name == "momentum",
            "weight_decay": values["weight_decay"],
            "decay_norm_and_bias": self.decay_norm_and_bias(),
            "clip_norm": clip,
            "layer_decay": 1.0,
        }

    def decay_norm_and_bias(self) -> bool:
        filters = {"disable": True, "norm_and_bias": False}
        chosen = self.values["weight_decay_filter"]
        if chosen == "auto":
            self.fault(
                "weight_decay_filter", "BatchNorm goes with biases: disable or norm_and_bias"
            )
            return True
        decays = bool(self.one_of("weight_decay_filter", filters))
        if self.values["layer_decay"] is not None:
            self.note(
                "layer_decay", "has no effect on a MixNet's rates in MindCV, it only frees "
                "BatchNorm and biases of weight decay; optimizer.layer_decay does more"
            )  # fmt: skip
            return False
        if decays and self.values["weight_decay"] > 0:
            self.note(
                "weight_decay", "is on BatchNorm's parameters and biases too (weight_decay_filter)"
            )
        return decays

    def schedule(self) -> dict[str, Any]:
        values = self.values
        warmup, decay = values["warmup_epochs"], values["decay_epochs"]
        if warmup + decay > values["epoch_size"]:
            self.notes.append(
                f"warmup_epochs {warmup} and decay_epochs {decay} are more than epoch_size "
                f"{values['epoch_size']}: training ends before the rate is at min_lr"
            )
        return {
            "lr": values["lr"],
            "lr_batch": None,
            "min_lr": values["min_lr"],
            "warmup_epochs": warmup,
            "decay_epochs": decay,
        }

    def precision(self) -> dict[str, Any]:
        values = self.values
        if values["loss_scale"] < 1:
            self.fault("loss_scale", "expected 1 or more")
        kinds = _themselves(("fixed", "dynamic"))
        return {
            "amp_level": self.one_of("amp_level", _themselves(_AMP_LEVELS)),
            "loss_scale": values["loss_scale"],
            "loss_scale_type": self.one_of("loss_scale_type", kinds, str.lower),
            "drop_overflow_update": values["drop_overflow_update"],
        }

    def devices(self) -> dict[str, Any]:
        values = self.values
        target = self.one_of("device_target", _themselves(_TARGETS))
        if target != "Ascend":
            self.note("device_target", "is devices.target here; MindCV's train.py does not read it")
        return {
            "target": target,
            "ranks": self.ranks,
            "micro_batch": values["batch_size"],
            "stall_seconds": 600,
            "compile_seconds": 3600,
            "threads_per_rank": 0,
            "operators": "auto",
            "engine": "auto",
        }

    def one_of(self, key: str, ours: dict[Any, Any], folded: Any = None) -> Any:
        """Returns our word for the value; notes a fault if there is none."""
        value = self.values[key]
        value = folded(value) if folded else value
        if value not in ours:
            self.fault(key, f"expected {' or '.join(map(str, ours))}")
        return ours.get(value)

    def note(self, key: str, what: str) -> None:
        self.notes.append(f"{key} {shown(self.values[key])} {what}")

    def fault(self, key: str, what: str) -> None:
        default = "" if key in self.given else " (MindCV's default)"
        self.faults.append((key, f"{key} {shown(self.values[key])}{default}: {what}"))


def _themselves(values: Iterable[Any]) -> dict[Any, Any]:
    return {value: value for value in values}


def _line(key: str, document: Document | None) -> str:
    line = document.line([key]) if document else None
    return f"line {line}: " if line else ""
