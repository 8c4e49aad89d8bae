"""MindCV's recipe files: the published ones are our bundled recipes, the rest is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixnet_core.errors import RecipeError
from mixnet_core.recipe.lines import recipe_lines
from mixnet_core.recipe.mindcv import PRETRAINED, from_mindcv, is_mindcv
from mixnet_core.recipe.mindcv_keys import KEYS
from mixnet_core.recipe.recipe import Recipe, load_recipe, parse_recipe
from mixnet_core.release.catalog import load_catalog

SAMPLES = Path(__file__).parent / "mindcv_files"
# What a file must say, because MindCV's default is not done here.
LEAST: dict[str, Any] = {"model": "mixnet_s", "opt": "momentum", "color_jitter": 0}
# The options of its config.py, as of July 2025.
MINDCVS_OPTIONS = """
amp_cast_list amp_level aug_repeats aug_splits auto_augment aux_factor batch_size ckpt_path
ckpt_save_dir ckpt_save_interval ckpt_save_policy clip_grad clip_value color_jitter config
crop_pct cutmix cutmix_prob cycle_decay data_dir dataset dataset_download dataset_sink_mode
decay_epochs decay_rate device_target distribute drop_overflow_update drop_path_rate drop_rate
drop_remainder ema ema_decay epoch_size eps eval_shuffle gradient_accumulation_steps hflip
image_resize in_channels interpolation keep_checkpoint_max label_smoothing layer_decay
log_interval loss loss_scale loss_scale_type lr lr_epoch_stair mean min_lr mixup mode model
momentum multi_step_decay_milestones num_classes num_cycles num_parallel_workers num_samples opt
pretrained ratio re_max_attempts re_prob re_ratio re_scale re_value reduction resume_opt scale
scheduler seed shuffle std train_split use_nesterov val_amp_level val_interval val_split
val_while_train vflip warmup_epochs warmup_factor weight_decay weight_decay_filter
"""


def converted(**changes: Any) -> tuple[Recipe, list[str]]:
    data, notes = from_mindcv(LEAST | changes)
    return parse_recipe(data, "mindcv.yaml"), notes


def refusal(**changes: Any) -> str:
    with pytest.raises(RecipeError) as raised:
        from_mindcv(LEAST | changes)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def notes_on(key: str, **changes: Any) -> list[str]:
    """Of a conversion, those that begin with the key."""
    _, notes = converted(**changes)
    assert not any("\n" in note for note in notes)
    return [note for note in notes if note.split()[0] == key]


@pytest.mark.parametrize("variant", ["s", "m", "l"])
def test_a_published_file_is_the_bundled_recipe(variant: str) -> None:
    ours = load_recipe(f"mixnet_{variant}")
    theirs = load_recipe(str(SAMPLES / f"mixnet_{variant}.yaml"))
    assert theirs.data.path == "/images"
    same = {
        "description": ours.description,
        "data": theirs.data.model_copy(update={"path": ours.data.path}),
    }
    assert theirs.model_copy(update=same) == ours
    assert recipe_lines(theirs) == recipe_lines(ours)


def test_where_the_published_file_means_something_else_than_it_says_is_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="mixnet_core"):
        load_recipe(str(SAMPLES / "mixnet_s.yaml"))
    assert [record.getMessage() for record in caplog.records] == [
        "mixnet_s.yaml: " + note
        for note in (
            "checkpoints are selected on 1% of the training images (data.select_share), which are "
            "not trained on; MindCV selects on val and trains on all",
            "cutmix_prob 0 switches mixup 0.2 off too, not only cutmix",
            "distribute does not say how many devices: taken as 8, so training.global_batch is "
            "1,024 (--ranks N --scale-lr for others)",
            "BatchNorm's statistics are the mean over ranks (training.batch_statistics); MindCV "
            "keeps rank 0's",
            "weight_decay 2e-05 is on BatchNorm's parameters and biases too (weight_decay_filter)",
        )
    ]


def test_what_a_recipe_comes_to_is_said_in_five_lines() -> None:
    assert recipe_lines(load_recipe(str(SAMPLES / "mixnet_l.yaml"))) == [
        "MixNet-L (mindcv), 1,000 classes, from scratch, dropout 0.2",
        "224 px bicubic, crop 0.08..1, flip 0.5, RandAugment 2 x 9±0.5 increasing, erasing 0.25, "
        "mixup 0.2 or cutmix 1, label smoothing 0.1",
        "600 epochs, global batch 1,024 = 8 ranks x 128, learning rate 0.25",
        "momentum 0.9, weight decay 2e-05 on all parameters, warm-up 20 epochs, cosine to 1e-05 "
        "over 580",
        "Ascend, O3, dynamic loss scale 16,777,216, steps that overflow are left out, BatchNorm "
        "statistics averaged",
    ]


def test_our_own_recipes_are_not_taken_for_mindcvs() -> None:
    theirs = yaml.safe_load((SAMPLES / "mixnet_s.yaml").read_text())
    ours = load_recipe("digits").model_dump()
    assert is_mindcv(theirs, sections=Recipe.model_fields)
    assert not is_mindcv(ours, sections=Recipe.model_fields)
    assert not is_mindcv(ours | {"lr": 0.1}, sections=Recipe.model_fields)
    assert not is_mindcv({"something": 1}, sections=Recipe.model_fields)


def test_every_option_of_mindcvs_parser_is_in_the_table() -> None:
    assert set(KEYS) == set(MINDCVS_OPTIONS.split())
    assert {key.group for key in KEYS.values()} == {"honoured", "fixed", "without effect"}


def test_a_file_that_names_every_default_is_the_one_that_names_none() -> None:
    # MindCV saves such a file beside its checkpoints.
    every = {key: known.default for key, known in KEYS.items()} | LEAST
    assert from_mindcv(every) == from_mindcv(LEAST)


def test_mindcvs_defaults_hold_where_the_file_says_nothing() -> None:
    recipe, notes = converted()
    assert recipe.training.epochs == 90
    assert (recipe.devices.ranks, recipe.training.global_batch) == (1, 128)
    schedule = recipe.schedule
    assert (schedule.lr, schedule.min_lr) == (0.001, 1e-6)
    assert (schedule.warmup_epochs, schedule.decay_epochs) == (3, 100)
    assert (recipe.input.interpolation, recipe.input.crop_pct) == ("bilinear", 0.875)
    assert (recipe.network.drop_rate, recipe.network.num_classes) == (0.2, None)
    augment = recipe.augment
    assert (augment.rand_augment, augment.erasing, augment.mix) == (None, None, None)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.clip_norm) == (1e-6, None)
    assert (recipe.precision.amp_level, recipe.precision.loss_scale) == ("O0", 1.0)
    assert (
        "warmup_epochs 3 and decay_epochs 100 are more than epoch_size 90: training ends before "
        "the rate is at min_lr"
    ) in notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet50"}, "model resnet50: expected mixnet_s or mixnet_m or mixnet_l"),
        ({"opt": "lamb"}, "opt lamb: expected momentum or sgd or adamw"),
        ({"loss": "BCE"}, "loss BCE is not done: the loss is cross-entropy (CE)"),
        ({"reduction": "sum"}, "reduction sum is not done"),
        ({"scheduler": "step_decay"}, "scheduler step_decay is not done: the rate falls as half"),
        ({"num_cycles": 2}, "num_cycles 2 is not done: the cosine runs once"),
        ({"lr_epoch_stair": True}, "lr_epoch_stair true is not done"),
        ({"warmup_factor": 0.01}, "warmup_factor 0.01 is not done"),
        ({"color_jitter": 0.4}, "color_jitter 0.4 is not done: there is no colour jitter"),
        ({"color_jitter": [0.0, 0.0, 0.3]}, "color_jitter [0.0, 0.0, 0.3] is not done"),
        ({"vflip": 0.5}, "vflip 0.5 is not done"),
        ({"re_prob": 0.25, "re_value": "random"}, "re_value random is not done"),
        ({"aug_splits": 3}, "aug_splits 3 is not done"),
        ({"aug_repeats": 3}, "aug_repeats 3 is not done"),
        ({"auto_augment": "autoaug"}, "auto_augment autoaug: expected RandAugment"),
        ({"auto_augment": "randaug-m9-w0"}, "auto_augment randaug-m9-w0: expected RandAugment"),
        ({"auto_augment": "randaug-m9.5"}, "auto_augment randaug-m9.5: expected RandAugment"),
        ({"auto_augment": "randaug-m12"}, "auto_augment randaug-m12: magnitudes end at 10"),
        ({"auto_augment": "randaug-m9-mmax20"}, "auto_augment randaug-m9-mmax20: magnitudes end"),
        ({"dataset": "cifar10"}, "dataset cifar10 is not done: images come from a folder"),
        ({"train_split": "training"}, "train_split training is not done"),
        ({"val_split": "test"}, "val_split test is not done"),
        ({"num_samples": 500}, "num_samples 500 is not done: all images are used"),
        ({"shuffle": False}, "shuffle false is not done"),
        ({"drop_remainder": False}, "drop_remainder false is not done"),
        ({"dataset_download": True}, "dataset_download true is not done"),
        ({"ckpt_path": "a.ckpt"}, "ckpt_path a.ckpt is not done: training starts from a release"),
        ({"weight_decay_filter": "auto"}, "weight_decay_filter auto: BatchNorm goes with biases"),
        ({"loss_scale_type": "auto"}, "loss_scale_type auto: expected fixed or dynamic"),
        ({"loss_scale": 0.5}, "loss_scale 0.5: expected 1 or more"),
        ({"amp_level": "auto"}, "amp_level auto: expected O0 or O1 or O2 or O3"),
        ({"amp_level": "O2", "amp_cast_list": "[nn.Dense]"}, "amp_cast_list [nn.Dense] is not"),
        ({"interpolation": "area"}, "interpolation area: expected bilinear or bicubic"),
        ({"image_resize": [224, 192]}, "image_resize [224, 192]: expected one whole number"),
        ({"in_channels": 4}, "in_channels 4: expected 1 or 3"),
        ({"device_target": "TPU"}, "device_target TPU: expected CPU or Ascend or GPU"),
        ({"ckpt_save_policy": "best"}, "ckpt_save_policy best: expected latest_k, top_k or null"),
    ],
)
def test_a_value_that_asks_for_what_is_not_done_is_refused_by_name(
    changes: dict[str, Any], message: str
) -> None:
    assert refusal(**changes).startswith(message)
    assert "; " not in refusal(**changes)


def test_a_default_that_is_not_done_says_where_it_comes_from() -> None:
    with pytest.raises(RecipeError) as raised:
        from_mindcv({"model": "mixnet_s"})
    color_jitter, opt = str(raised.value).split("; ")
    assert color_jitter.startswith("color_jitter 0.4 (MindCV's default) is not done")
    assert opt == "opt adam (MindCV's default): expected momentum or sgd or adamw"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_rte": 0.1}, "unknown key drop_rte (did you mean drop_rate?)"),
        ({"zzz": 1}, "unknown key zzz"),
        ({"epoch_size": 2.5}, "epoch_size is 2.5: expected a whole number"),
        ({"epoch_size": True}, "epoch_size is true: expected a whole number"),
        ({"lr": "fast"}, "lr is fast: expected a number"),
        ({"lr": None}, "lr is null: expected a number"),
        ({"lr": float("nan")}, "lr is nan: expected a number"),
        ({"scale": "(0.08, 1)"}, "scale is (0.08, 1): expected a list of 2 numbers"),
        ({"ema": "perhaps"}, "ema is perhaps: expected true or false"),
        (
            {"drop_overflow_update": "False"},
            "drop_overflow_update is False: expected true or false without quotes: MindCV takes "
            "any text for true",
        ),
    ],
)
def test_an_unknown_key_or_another_kind_of_value_is_named(
    changes: dict[str, Any], message: str
) -> None:
    assert refusal(**changes) == message


def test_every_fault_is_named_at_once() -> None:
    message = refusal(model="resnet50", loss="BCE", lrr=0.1)
    assert all(word in message for word in ("model resnet50", "loss BCE", "unknown key lrr"))


def test_text_that_mindcvs_parser_turns_into_a_number_or_a_switch_is_taken() -> None:
    # YAML 1.1 reads 1e-5 as text.
    recipe, _ = converted(min_lr="1e-5", epoch_size="120", ema="yes")
    assert (recipe.schedule.min_lr, recipe.training.epochs) == (1e-5, 120)
    assert recipe.training.ema_decay == 0.9999


def test_cutmix_prob_gates_mixup_too() -> None:
    off, _ = converted(mixup=0.2, cutmix=1.0, cutmix_prob=0.0)
    assert off.augment.mix is None
    half, _ = converted(mixup=0.2, cutmix=1.0, cutmix_prob=0.5)
    assert half.augment.mix is not None
    assert half.augment.mix.model_dump() == {
        "mixup_alpha": 0.2,
        "cutmix_alpha": 1.0,
        "probability": 0.5,
        "switch_probability": 0.5,
    }
    assert notes_on("cutmix_prob", mixup=0.2, cutmix_prob=0.5) == [
        "cutmix_prob 0.5 is the probability of mixup too, not only of cutmix"
    ]
    assert notes_on("cutmix_prob", cutmix=1.0, cutmix_prob=0.0) == []
    assert converted(mixup=0.2, batch_size=1)[0].augment.mix is None


@pytest.mark.parametrize(
    ("policy", "operations", "magnitude", "increasing", "note"),
    [
        ("randaug-m9-mstd0.5-inc1", 2, 9, True, ""),
        ("randaug-m7-n3-mstd0.5", 3, 7, False, ""),
        ("randaug-mstd0.5", 2, 10, False, ""),
        # MindCV sets 0.5 before it reads the policy, and does not set it again.
        ("randaug-m9-mstd1.5", 2, 9, False, "has mstd0.5: MindCV takes no other"),
        ("randaug-m9", 2, 9, False, "has mstd0.5: MindCV takes no other"),
        # bool("0") is true.
        ("randaug-m9-mstd0.5-inc0", 2, 9, True, "is increasing as MindCV reads it"),
        ("randaug-m9-mstd0.5-inc", 2, 9, False, "is not increasing as MindCV reads it"),
    ],
)
def test_a_randaugment_policy_means_what_mindcv_reads_into_it(
    policy: str, operations: int, magnitude: int, increasing: bool, note: str
) -> None:
    drawn = converted(auto_augment=policy)[0].augment.rand_augment
    assert drawn is not None
    assert drawn.model_dump() == {
        "operations": operations,
        "magnitude": magnitude,
        "magnitude_std": 0.5,
        "increasing": increasing,
        "flavour": "mindcv",
    }
    expected = [f"auto_augment {policy} {note}"] if note else []
    assert notes_on("auto_augment", auto_augment=policy) == expected


def test_colour_jitter_is_no_matter_beside_a_policy_but_is_noted_where_it_is_written() -> None:
    policy = {"auto_augment": "randaug-m9-mstd0.5"}
    assert notes_on("color_jitter", **policy, color_jitter=0.4) == [
        "color_jitter 0.4 has no effect beside auto_augment"
    ]
    assert notes_on("color_jitter", **policy) == []


def test_accumulated_batches_are_part_of_the_global_batch() -> None:
    recipe, _ = converted(distribute=True, batch_size=64, gradient_accumulation_steps=2)
    assert (recipe.training.global_batch, recipe.accumulation) == (1024, 2)
    assert recipe.devices.micro_batch == 64


def test_averages_clipping_and_precision_are_taken_over() -> None:
    recipe, notes = converted(
        ema=True,
        ema_decay=0.999,
        clip_grad=True,
        clip_value=5.0,
        amp_level="O2",
        loss_scale=1024,
        loss_scale_type="dynamic",
        drop_overflow_update=True,
        drop_path_rate=0.2,
        use_nesterov=True,
        weight_decay_filter="norm_and_bias",
    )
    assert recipe.training.ema_decay == 0.999
    assert (recipe.optimizer.clip_norm, recipe.optimizer.nesterov) == (5.0, True)
    assert not recipe.optimizer.decay_norm_and_bias
    assert recipe.precision.model_dump() == {
        "amp_level": "O2",
        "loss_scale": 1024.0,
        "loss_scale_type": "dynamic",
        "drop_overflow_update": True,
    }
    assert recipe.network.drop_path_rate == 0.2
    assert {"clip_value", "drop_path_rate"} <= {note.split()[0] for note in notes}
    assert "weight_decay" not in {note.split()[0] for note in notes}
    assert converted(clip_value=5.0)[0].optimizer.clip_norm is None


def test_layer_decay_only_frees_norms_and_biases_of_weight_decay_as_in_mindcv() -> None:
    recipe, notes = converted(layer_decay=0.75)
    assert (recipe.optimizer.layer_decay, recipe.optimizer.decay_norm_and_bias) == (1.0, False)
    assert any(note.startswith("layer_decay 0.75 has no effect on") for note in notes)


def test_adamw_has_its_own_beta_in_mindcv() -> None:
    recipe, notes = converted(opt="AdamW", momentum=0.8, use_nesterov=True)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.momentum, optimizer.nesterov) == ("adamw", 0.9, False)
    assert {"momentum", "use_nesterov"} <= {note.split()[0] for note in notes}
    assert converted(opt="sgd", momentum=0.8)[0].optimizer.momentum == 0.8


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"mode": 1}, "mode 1 has no effect: training always runs as a compiled graph"),
        ({"val_interval": 5}, "val_interval 5 has no effect"),
        ({"ckpt_save_dir": "/ckpt"}, "ckpt_save_dir /ckpt has no effect"),
        ({"eps": 1e-8}, "eps 1e-08 has no effect"),
        ({"val_amp_level": "O2"}, "val_amp_level O2 has no effect"),
        ({"aux_factor": 0.4}, "aux_factor 0.4 has no effect"),
        ({"resume_opt": True}, "resume_opt true has no effect"),
        ({"interpolation": "lanczos"}, "interpolation lanczos is unknown to MindCV"),
        ({"mean": [0.485, 0.456, 0.406]}, "mean and std are for pixels in 0..255"),
        ({"device_target": "CPU"}, "device_target CPU is devices.target here"),
        ({"ckpt_save_policy": "top_k"}, "ckpt_save_policy top_k is latest_k"),
        (
            {"gradient_accumulation_steps": 2},
            "gradient_accumulation_steps 2 leaves the schedule at its pace",
        ),
    ],
)
def test_what_has_no_effect_or_another_one_is_noted(changes: dict[str, Any], note: str) -> None:
    _, notes = converted(**changes)
    assert [found for found in notes if found.startswith(note)] != []
    _, usual = converted()
    assert len(notes) == len(usual) + 1


def test_an_average_over_accumulated_steps_is_noted_beside_the_schedule() -> None:
    _, notes = converted(ema=True, gradient_accumulation_steps=2)
    assert [note for note in notes if note.startswith("ema_decay 0.9999 counts steps")] != []


def test_what_only_concerns_speed_is_taken_without_a_word() -> None:
    quiet = {"num_parallel_workers": 16, "dataset_sink_mode": False, "config": "a.yaml"}
    assert converted(**quiet) == converted()


def test_without_a_retention_policy_every_checkpoint_is_kept() -> None:
    assert converted(ckpt_save_policy=None)[0].training.keep_checkpoints == 90
    assert converted(keep_checkpoint_max=3)[0].training.keep_checkpoints == 3


@pytest.mark.parametrize("variant", ["s", "m", "l"])
def test_pretrained_is_the_catalogs_release_of_what_mindcv_loads(variant: str) -> None:
    kept, _ = converted(model=f"mixnet_{variant}", pretrained=True, num_classes=1000)
    assert (kept.weights.name, kept.weights.reset_classifier) == (PRETRAINED[variant], False)
    entry = load_catalog()[PRETRAINED[variant]]
    assert (entry.variant, entry.flavour) == (variant, "mindcv")
    # MindCV's models/mixnet.py names these files.
    files = {"s": "mixnet_s-2a5ef3a3", "m": "mixnet_m-74cc4cb1", "l": "mixnet_l-978edf2b"}
    assert entry.url.endswith(f"/{files[variant]}.ckpt")
    assert converted(pretrained=True, num_classes=10)[0].weights.reset_classifier
    assert any("classifier starts afresh" in note for note in converted(pretrained=True)[1])
    assert converted()[0].weights.name is None


def test_a_relative_folder_is_the_one_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert converted(data_dir="images")[0].data.path == str(tmp_path / "images")


def test_our_settings_go_over_a_mindcv_file() -> None:
    changes = {"training.epochs": 3, "schedule.warmup_epochs": 1, "devices.ranks": 1}
    recipe = load_recipe(str(SAMPLES / "mixnet_s.yaml"), changes)
    assert (recipe.training.epochs, recipe.accumulation) == (3, 8)


PLAIN = "model: mixnet_s\nopt: momentum\ncolor_jitter: 0\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("opt: adamw", "opt stands twice, in lines 2 and 4: keep one"),
        ("log_interval: 010", "line 4: log_interval is 010: expected a whole number: YAML 1.1"),
        ("log_interval: 1_00", "line 4: log_interval is 1_00: expected a whole number: write 100"),
        ("log_interval: 1:30", "line 4: log_interval is 1:30: expected a whole number: YAML 1.1"),
        ("seed: 1e3", "line 4: seed is 1e3: expected a whole number: write 100"),
        ("lr: 1,5", "line 4: lr is 1,5: expected a number: a number has no comma"),
        ("data_dir: 2024", "line 4: data_dir is 2024: expected text: put it in quotes"),
        ("drop_overflow_update: no", "line 4: drop_overflow_update is no: expected true or false:"),
        ("loss: BCE", "line 4: loss BCE is not done"),
        ("epochs: 4", "line 4: unknown key epochs"),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_is_told_with_its_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{PLAIN}{line}\n")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert message in str(raised.value)


@pytest.mark.parametrize("switch", ["on", "yes", "True", "'1'"])
def test_what_mindcv_reads_as_numbers_and_switches_is_read_as_those(
    switch: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{PLAIN}lr: 5e-2\nmin_lr: 1E-5\ndistribute: {switch}\n")
    recipe = load_recipe(str(path))
    assert (recipe.schedule.lr, recipe.schedule.min_lr) == (0.05, 1e-5)
    assert recipe.devices.ranks == 8
