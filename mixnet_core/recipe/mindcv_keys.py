"""Every key of a MindCV recipe file (the options of its config.py), with what becomes of it here.

Honoured: it decides something in our recipe; a value that cannot is refused by name.
Fixed: we do what one of its values asks for; another one is refused by name.
Without effect: it changes nothing that is computed here; unless silent, another value than MindCV's
default is noted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.storage.uris import shown_value, shown_words
from mixnet_core.storage.yaml_scalars import Written, advice, resolved

Values = dict[str, Any]
# A key, and what is wrong with it.
Fault = tuple[str, str]
Kind = Callable[[Any], Any]


def whole(value: Any) -> int:
    """MindCV's argument parser converts text, as YAML 1.1 reads 1e-6 for one."""
    number = resolved(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"expected a whole number{advice(value, 'int')}")
    return int(number)


def number(value: Any) -> float:
    number = resolved(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise TypeError(f"expected a number{advice(value, 'float')}")
    return float(number)


def yes_or_no(value: Any) -> bool:
    words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    # Unquoted, as MindCV's reader has them.
    words |= {"on": True, "off": False}
    if isinstance(value, str):
        value = words.get(value.lower())
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def plain_yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        if str(value).lower() in ("yes", "no", "on", "off"):
            raise TypeError(f"expected true or false{advice(value, 'bool')}")
        raise TypeError("expected true or false without quotes: MindCV takes any text for true")
    return value


def text(value: Any) -> str:
    if isinstance(value, Written):
        return value.text
    if not isinstance(value, str):
        raise TypeError(f"expected text{advice(value, 'string')}")
    return value


def folder_or_nothing(value: Any) -> str:
    return "" if value is None else text(value)


def anything(value: Any) -> Any:
    return value


def numbers(count: int) -> Kind:
    def kind(value: Any) -> list[float]:
        if not isinstance(value, list | tuple) or len(value) != count:
            raise ValueError(f"expected a list of {count} numbers")
        return [number(item) for item in value]

    return kind


def or_null(kind: Kind) -> Kind:
    return lambda value: None if value is None else kind(value)


@dataclass(frozen=True)
class Key:
    """One of MindCV's keys.

    Attributes:
        group: honoured, fixed or without effect.
        kind: raises TypeError or ValueError for another kind of value; returns it as MindCV has it.
        default: MindCV's, which holds where the file does not name the key.
        what: honoured: our keys; fixed: what we do; without effect: why.
        accepts: of a fixed key: whether we do what its value asks for, given all values.
    """

    group: str
    kind: Kind
    default: Any
    what: str
    accepts: Callable[[Any, Values], bool] = lambda value, values: True
    silent: bool = False


def _honoured(kind: Kind, default: Any, what: str) -> Key:
    return Key("honoured", kind, default, what)


def _fixed(
    kind: Kind, default: Any, what: str, accepts: Callable[[Any, Values], bool] | None = None
) -> Key:
    return Key("fixed", kind, default, what, accepts or (lambda value, _: bool(value == default)))


def _without_effect(kind: Kind, default: Any, what: str, *, silent: bool = False) -> Key:
    return Key("without effect", kind, default, what, silent=silent)


KEYS: dict[str, Key] = {
    # system
    "config": _without_effect(anything, "", "where MindCV found the file", silent=True),
    "mode": _without_effect(whole, 0, "training always runs as a compiled graph"),
    "distribute": _honoured(yes_or_no, False, "devices.ranks"),
    "val_while_train": _without_effect(
        yes_or_no, False, "checkpoints are compared after training", silent=True
    ),
    "val_interval": _without_effect(whole, 1, "checkpoints are compared after training"),
    "log_interval": _honoured(whole, 100, "training.log_every_steps"),
    "seed": _honoured(whole, 42, "training.seed"),
    "device_target": _honoured(text, "Ascend", "devices.target"),
    # dataset
    "dataset": _fixed(
        text,
        "imagenet",
        "images come from a folder with train/ and val/ (imagenet)",
        lambda value, _: value.lower() in ("imagenet", ""),
    ),
    "data_dir": _honoured(text, "./", "data.path"),
    "train_split": _fixed(text, "train", "training images are those in train/: rename the folder"),
    "val_split": _fixed(text, "val", "validation images are those in val/: rename the folder"),
    "dataset_download": _fixed(yes_or_no, False, "ImageNet cannot be downloaded"),
    "num_parallel_workers": _without_effect(
        anything, 8, "devices.threads_per_rank is ours", silent=True
    ),
    "shuffle": _fixed(yes_or_no, True, "training images are shuffled"),
    "num_samples": _fixed(
        or_null(whole),
        None,
        "all images are used, not other ones each epoch: leave it out and give --set "
        "data.train_limit=N",
        lambda value, _: value is None or value <= 0,
    ),
    "batch_size": _honoured(whole, 128, "training.global_batch, devices.micro_batch"),
    "drop_remainder": _fixed(yes_or_no, True, "the last, smaller batch of an epoch is left out"),
    # augmentation
    "image_resize": _honoured(anything, 224, "input.image_size"),
    "scale": _honoured(numbers(2), [0.08, 1.0], "augment.crop_scale"),
    "ratio": _honoured(numbers(2), [0.75, 1.333], "augment.crop_ratio"),
    "hflip": _honoured(number, 0.5, "augment.hflip"),
    "vflip": _fixed(number, 0.0, "images are not turned upside down", lambda v, _: v <= 0),
    "color_jitter": _fixed(
        anything,
        0.4,
        "there is no colour jitter, which MindCV has where auto_augment is not set (write "
        "color_jitter: 0)",
        lambda value, values: values["auto_augment"] is not None or not _jitters(value),
    ),
    "interpolation": _honoured(text, "bilinear", "input.interpolation"),
    "auto_augment": _honoured(or_null(text), None, "augment.rand_augment"),
    "aug_splits": _fixed(whole, 0, "batches are not split for augmentation", lambda v, _: v <= 0),
    "re_prob": _honoured(number, 0.0, "augment.erasing.probability"),
    "re_scale": _honoured(numbers(2), [0.02, 0.33], "augment.erasing.scale"),
    "re_ratio": _honoured(numbers(2), [0.3, 3.3], "augment.erasing.ratio"),
    "re_value": _fixed(
        anything,
        0,
        "random erasing fills with 0",
        lambda value, values: value in (0, [0, 0, 0]) or values["re_prob"] <= 0,
    ),
    "re_max_attempts": _without_effect(
        whole, 10, "how often random erasing looks for a rectangle is fixed"
    ),
    "mean": _honoured(numbers(3), [123.675, 116.28, 103.53], "input.mean"),
    "std": _honoured(numbers(3), [58.395, 57.12, 57.375], "input.std"),
    "crop_pct": _honoured(number, 0.875, "input.crop_pct"),
    "mixup": _honoured(number, 0.0, "augment.mix.mixup_alpha"),
    "cutmix": _honoured(number, 0.0, "augment.mix.cutmix_alpha"),
    "cutmix_prob": _honoured(number, 1.0, "augment.mix.probability"),
    "aug_repeats": _fixed(whole, 0, "an epoch has each image once", lambda v, _: v <= 1),
    # model
    "model": _honoured(text, "mobilenet_v2_035_224", "network.variant"),
    "num_classes": _honoured(or_null(whole), None, "network.num_classes"),
    "in_channels": _honoured(whole, 3, "network.in_channels"),
    "drop_rate": _honoured(or_null(number), None, "network.drop_rate; MixNet's own default is 0.2"),
    "drop_path_rate": _honoured(or_null(number), None, "network.drop_path_rate"),
    "pretrained": _honoured(yes_or_no, False, "weights.name"),
    "ckpt_path": _fixed(
        folder_or_nothing,
        "",
        "training starts from a release or a file that --weights names: give it the file's path",
    ),
    "resume_opt": _without_effect(
        yes_or_no, False, "a run that is started again goes on by itself"
    ),
    "keep_checkpoint_max": _honoured(whole, 10, "training.keep_checkpoints"),
    "ckpt_save_dir": _without_effect(text, "./ckpt", "a run's folder in --workspace has them"),
    "ckpt_save_interval": _honoured(whole, 1, "training.checkpoint_every_epochs"),
    "ckpt_save_policy": _honoured(or_null(text), "latest_k", "training.keep_checkpoints"),
    "epoch_size": _honoured(whole, 90, "training.epochs"),
    "dataset_sink_mode": _without_effect(yes_or_no, True, "it is about speed", silent=True),
    "ema": _honoured(yes_or_no, False, "training.ema_decay"),
    "ema_decay": _honoured(number, 0.9999, "training.ema_decay"),
    "clip_grad": _honoured(yes_or_no, False, "optimizer.clip_norm"),
    "clip_value": _honoured(number, 15.0, "optimizer.clip_norm"),
    "layer_decay": _honoured(or_null(number), None, "optimizer.decay_norm_and_bias"),
    "gradient_accumulation_steps": _honoured(whole, 1, "training.global_batch"),
    # optimizer
    "opt": _honoured(text, "adam", "optimizer.name"),
    "momentum": _honoured(number, 0.9, "optimizer.momentum"),
    "weight_decay": _honoured(number, 1e-6, "optimizer.weight_decay"),
    "use_nesterov": _honoured(yes_or_no, False, "optimizer.nesterov"),
    "weight_decay_filter": _honoured(text, "disable", "optimizer.decay_norm_and_bias"),
    "eps": _without_effect(number, 1e-10, "it is RMSProp's alone in MindCV"),
    # scheduler
    "scheduler": _fixed(
        text,
        "cosine_decay",
        "the rate falls as half a cosine (cosine_decay)",
        lambda value, _: value in ("cosine_decay", "warmup_cosine_decay"),
    ),
    "lr": _honoured(number, 0.001, "schedule.lr"),
    "min_lr": _honoured(number, 1e-6, "schedule.min_lr"),
    "warmup_epochs": _honoured(whole, 3, "schedule.warmup_epochs"),
    "warmup_factor": _fixed(
        number,
        0.0,
        "the warm-up begins at a rate of 0",
        lambda value, values: value == 0 or values["warmup_epochs"] <= 0,
    ),
    "decay_epochs": _honoured(whole, 100, "schedule.decay_epochs"),
    "decay_rate": _without_effect(number, 0.9, "a cosine has none"),
    "multi_step_decay_milestones": _without_effect(anything, [30, 60, 90], "a cosine has none"),
    "lr_epoch_stair": _fixed(yes_or_no, False, "the rate changes every step"),
    "num_cycles": _fixed(whole, 1, "the cosine runs once"),
    "cycle_decay": _without_effect(number, 1.0, "the cosine runs once"),
    # loss
    "loss": _fixed(text, "CE", "the loss is cross-entropy (CE)", lambda v, _: v.lower() == "ce"),
    "label_smoothing": _honoured(number, 0.0, "training.label_smoothing"),
    "aux_factor": _without_effect(number, 0.0, "a MixNet has no auxiliary classifier"),
    "reduction": _fixed(text, "mean", "the loss is the mean over images"),
    # precision
    "amp_level": _honoured(text, "O0", "precision.amp_level"),
    "val_amp_level": _without_effect(
        text, "O0", "MindCV's training does not read it either; evaluation computes in float32"
    ),
    "amp_cast_list": _fixed(
        or_null(text),
        None,
        "which operators compute in float16 is the level's matter (null)",
        lambda value, values: not value or values["amp_level"] in ("O0", "O3"),
    ),
    "loss_scale_type": _honoured(text, "fixed", "precision.loss_scale_type"),
    "loss_scale": _honoured(number, 1.0, "precision.loss_scale"),
    "drop_overflow_update": _honoured(plain_yes_or_no, False, "precision.drop_overflow_update"),
    "eval_shuffle": _without_effect(plain_yes_or_no, False, "counting has no order", silent=True),
}


def read_values(data: Values) -> tuple[Values, list[Fault], list[str]]:
    """Reads a file's values beside MindCV's defaults, with faults and notes.

    Values at fault are not among them.
    """
    values = {key: known.default for key, known in KEYS.items()}
    faults: list[Fault] = []
    notes = []
    for key, value in data.items():
        if key not in KEYS:
            near = did_you_mean(str(key), KEYS)
            faults.append((key, f"unknown key {shown_words(str(key))}{near}"))
            continue
        try:
            values[key] = KEYS[key].kind(value)
        except (TypeError, ValueError) as error:
            got = repr(value) if isinstance(value, float) else shown(value)
            faults.append((key, f"{key} is {got}: {error}"))
    for key, known in KEYS.items():
        value = values[key]
        if known.group == "fixed" and not known.accepts(value, values):
            default = "" if key in data else " (MindCV's default)"
            faults.append((key, f"{key} {shown(value)}{default} is not done: {known.what}"))
        if known.group == "without effect" and not known.silent and value != known.default:
            notes.append(f"{key} {shown(value)} has no effect: {known.what}")
    return values, faults, notes


def shown(value: Any) -> str:
    """Quotes a value in a message, as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return shown_words(value) if isinstance(value, str) and value.strip() else shown_value(value)


def _jitters(value: Any) -> bool:
    """Tells whether MindCV's RandomColorAdjust would change anything; null is no jitter."""
    values = value if isinstance(value, list | tuple) else [value]
    return any(item not in (None, 0) for item in values)
