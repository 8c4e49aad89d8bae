"""What a recipe comes to, in the few lines that a run's terminal begins with."""

from __future__ import annotations

from mixnet_core.recipe.recipe import Recipe
from mixnet_core.recipe.sections import Augment


def recipe_lines(recipe: Recipe) -> list[str]:
    """Says network, images, batch, optimizer and precision, a line each, of all in recipe.yaml."""
    return [
        _network(recipe),
        _images(recipe),
        f"{_epochs(recipe.training.epochs)}, {recipe.batch_sentence}",
        _updates(recipe),
        _precision(recipe),
    ]


def _network(recipe: Recipe) -> str:
    network, weights = recipe.network, recipe.weights
    classes = "the dataset's" if network.num_classes is None else f"{network.num_classes:,}"
    start = "from scratch"
    if weights.name is not None:
        start = f"from {weights.name}"
        start += ", new classifier" if weights.reset_classifier else ""
        start += ", moving averages" if weights.ema else ""
        start += ", frozen backbone" if weights.freeze == "backbone" else ""
    return _joined(
        f"MixNet-{network.variant.upper()} ({network.flavour}), {classes} classes",
        start,
        _unless(network.drop_rate == 0, f"dropout {network.drop_rate:g}"),
        _unless(network.drop_path_rate == 0, f"drop path {network.drop_path_rate:g}"),
    )


def _images(recipe: Recipe) -> str:
    augment = recipe.augment
    crop = f"crop {augment.crop_scale[0]:g}..{augment.crop_scale[1]:g}"
    return _joined(
        f"{recipe.input.image_size} px {recipe.input.interpolation}",
        _unless(augment.crop_scale == augment.crop_ratio == (1, 1), crop),
        _unless(augment.hflip == 0, f"flip {augment.hflip:g}"),
        _rand_augment(augment),
        f"erasing {augment.erasing.probability:g}" if augment.erasing else "",
        _mix(augment),
        _unless(
            recipe.training.label_smoothing == 0,
            f"label smoothing {recipe.training.label_smoothing:g}",
        ),
    )


def _rand_augment(augment: Augment) -> str:
    drawn = augment.rand_augment
    if drawn is None:
        return "no RandAugment"
    text = f"RandAugment {drawn.operations} x {drawn.magnitude:g}±{drawn.magnitude_std:g}"
    return text + (" increasing" if drawn.increasing else "")


def _mix(augment: Augment) -> str:
    mix = augment.mix
    if mix is None:
        return "no mixup or cutmix"
    kinds = [f"mixup {mix.mixup_alpha:g}"] if mix.mixup_alpha else []
    kinds += [f"cutmix {mix.cutmix_alpha:g}"] if mix.cutmix_alpha else []
    share = "" if mix.probability == 1 else f" in {mix.probability:.0%} of batches"
    return " or ".join(kinds) + share


def _updates(recipe: Recipe) -> str:
    optimizer, schedule, ema = recipe.optimizer, recipe.schedule, recipe.training.ema_decay
    where = "all parameters" if optimizer.decay_norm_and_bias else "all but BatchNorm and biases"
    if not recipe.follows(2) and optimizer.decay_norm_and_bias and optimizer.layer_decay == 1:
        where = "all parameters but BatchNorm's, by rules 1"
    ignored = " (does nothing on a CPU, by rules 1)"
    nesterov = " nesterov" if optimizer.nesterov else ""
    if nesterov and not recipe.follows(2) and recipe.devices.target == "CPU":
        nesterov += ignored
    least = f"{schedule.min_lr * recipe.lr_factor:.6g}"
    return _joined(
        f"{optimizer.name} {optimizer.momentum:g}{nesterov}",
        f"weight decay {optimizer.weight_decay:g} on {where}",
        f"warm-up {_epochs(schedule.warmup_epochs)}, {schedule.name} to {least} over "
        f"{schedule.decay_epochs:g}",
        f"gradient norm at most {optimizer.clip_norm:g}" if optimizer.clip_norm else "",
        _unless(optimizer.layer_decay == 1, f"layer decay {optimizer.layer_decay:g}"),
        f"EMA {ema:g}" if ema else "",
    )


def _precision(recipe: Recipe) -> str:
    precision, devices = recipe.precision, recipe.devices
    return _joined(
        f"{devices.target}, {precision.amp_level}",
        f"{precision.loss_scale_type} loss scale {precision.loss_scale:,.10g}",
        "steps that overflow are left out" if precision.drop_overflow_update else "",
        _unless(recipe.shares == 1, f"BatchNorm statistics {recipe.training.batch_statistics}"),
    )


def _epochs(count: float) -> str:
    return f"{count:g} epoch{'' if count == 1 else 's'}"


def _unless(usual: bool, text: str) -> str:
    return "" if usual else text


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
