from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mixnet_core.errors import InputError, MixnetError, RecipeError
from mixnet_core.recipe.recipe import (
    RECIPES,
    load_recipe,
    parse_recipe,
    read_recipe,
    recipe_names,
    save_recipe,
)


def plain(**changes: Any) -> dict[str, Any]:
    """The digits recipe as a file holds it; a change's name has `__` for each dot."""
    data: dict[str, Any] = yaml.safe_load((RECIPES / "digits.yaml").read_text())
    for key, value in changes.items():
        *sections, last = key.split("__")
        section = data
        for name in sections:
            section = section[name]
        section[last] = value
    return data


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as raised:
        parse_recipe(data, "mine.yaml")
    message = str(raised.value)
    assert message.startswith("recipe mine.yaml: ")
    assert "\n" not in message
    return message.removeprefix("recipe mine.yaml: ")


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_bundled_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name
    assert name in recipe_names()


def test_the_bundled_recipes_are_these() -> None:
    assert recipe_names() == [
        "digits",
        "fashion_mnist",
        "finetune",
        "mixnet_l",
        "mixnet_m",
        "mixnet_s",
        "mixnet_xl",
    ]


def test_mixnet_s_is_mindcvs_published_recipe() -> None:
    # MindCV's configs/mixnet/mixnet_s_ascend.yaml and the defaults of its train.py.
    recipe = load_recipe("mixnet_s")
    published = {
        "network": {
            "variant": "s",
            "flavour": "mindcv",
            "num_classes": 1000,
            "in_channels": 3,
            "drop_rate": 0.2,
            "drop_path_rate": 0.0,
            "stem_stride": 2,
        },
        "input": {
            "image_size": 224,
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
        },
        "augment": {
            "crop_scale": [0.08, 1.0],
            "crop_ratio": [0.75, 1.333],
            "hflip": 0.5,
            "rand_augment": {
                "operations": 2,
                "magnitude": 9,
                "magnitude_std": 0.5,
                "increasing": False,
                "flavour": "mindcv",
            },
            "erasing": {"probability": 0.25, "scale": [0.02, 0.33], "ratio": [0.3, 3.3]},
            # Written in MindCV's file, but its cutmix_prob: 0.0 switches both off.
            "mix": None,
        },
        "optimizer": {
            "name": "momentum",
            "momentum": 0.9,
            "nesterov": False,
            "weight_decay": 2e-5,
            "decay_norm_and_bias": True,
            "clip_norm": None,
            "layer_decay": 1.0,
        },
        "schedule": {
            "name": "cosine",
            "lr": 0.2,
            "lr_batch": None,
            "min_lr": 1e-5,
            "warmup_epochs": 15,
            "decay_epochs": 585,
        },
        "precision": {
            "amp_level": "O3",
            "loss_scale": 256,
            "loss_scale_type": "fixed",
            "drop_overflow_update": False,
        },
    }
    assert recipe.model_dump(mode="json", include=set(published)) == published
    assert (recipe.training.epochs, recipe.training.label_smoothing) == (600, 0.1)
    assert recipe.training.seed == 42
    assert (recipe.training.ema_decay, recipe.accumulation, recipe.lr_factor) == (None, 1, 1.0)
    assert (recipe.training.global_batch, recipe.devices.ranks, recipe.rank_batch) == (1024, 8, 128)


def test_m_and_l_differ_from_s_as_mindcvs_files_do() -> None:
    m, large = load_recipe("mixnet_m"), load_recipe("mixnet_l")
    assert (m.network.variant, m.network.drop_rate) == ("m", 0.25)
    assert (m.precision.loss_scale, m.augment.mix) == (1024, None)
    assert (large.network.variant, large.network.drop_rate) == ("l", 0.2)
    assert large.augment.rand_augment is not None
    assert large.augment.rand_augment.increasing
    assert large.augment.mix is not None
    assert (large.augment.mix.mixup_alpha, large.augment.mix.cutmix_alpha) == (0.2, 1.0)
    assert (large.schedule.lr, large.schedule.warmup_epochs) == (0.25, 20)
    assert large.schedule.decay_epochs == 580
    assert (large.precision.loss_scale, large.precision.loss_scale_type) == (2**24, "dynamic")
    assert large.precision.drop_overflow_update


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trianing": {}}, "unknown key trianing (did you mean training?)"),
        ({"training__epoch": 3}, "unknown key training.epoch (did you mean epochs?)"),
        ({"training__zzz": 3}, "unknown key training.zzz"),
        (
            {"augment__mix": {"mixup_alfa": 0.2}},
            "missing key augment.mix.mixup_alpha; missing key augment.mix.cutmix_alpha; "
            "missing key augment.mix.probability; missing key augment.mix.switch_probability; "
            "unknown key augment.mix.mixup_alfa (did you mean mixup_alpha?)",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(
    changes: dict[str, Any], message: str
) -> None:
    assert refusal(plain(**changes)) == message


def test_of_thousands_of_faults_thirty_are_said_and_the_rest_counted() -> None:
    said = refusal(plain(**{f"zzz{number}": 0 for number in range(1234)}))
    assert said.startswith("unknown key zzz0; unknown key zzz1; ")
    assert said.endswith("unknown key zzz29; and 1,204 more")


def test_a_missing_key_is_named() -> None:
    data = plain()
    del data["input"]["crop_pct"]
    assert refusal(data) == "missing key input.crop_pct"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__epochs": "3"}, "training.epochs: input should be a valid integer, got '3'"),
        ({"training__epochs": 2.5}, "training.epochs: input should be a valid integer"),
        ({"training__epochs": True}, "training.epochs: input should be a valid integer, got True"),
        ({"optimizer__nesterov": 1}, "optimizer.nesterov: input should be a valid boolean, got 1"),
        ({"optimizer__nesterov": "no"}, "optimizer.nesterov: input should be a valid boolean"),
        ({"network__variant": "xs"}, "network.variant: input should be 's', 'm', 'l' or 'xl'"),
        ({"input__mean": [1.0, 2.0]}, "missing key input.mean.2"),
        ({"training": None}, "training: input should be an object, got None"),
    ],
)
def test_a_value_of_another_type_is_not_turned_into_one(
    changes: dict[str, Any], message: str
) -> None:
    assert refusal(plain(**changes)).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__epochs": 0}, "training.epochs: input should be greater than or equal to 1"),
        ({"network__drop_rate": 1.0}, "network.drop_rate: input should be less than 1, got 1.0"),
        ({"network__in_channels": 2}, "network.in_channels: input should be 1 or 3, got 2"),
        ({"input__crop_pct": 1.5}, "input.crop_pct: input should be less than or equal to 1"),
        ({"schedule__lr": float("nan")}, "schedule.lr: input should be a finite number, got nan"),
    ],
)
def test_a_value_out_of_range_is_named(changes: dict[str, Any], message: str) -> None:
    assert refusal(plain(**changes)).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training__global_batch": 33, "devices__ranks": 2},
            "training.global_batch 33 is not divisible by devices.ranks 2",
        ),
        (
            {"training__global_batch": 32, "devices__hosts": 3},
            "training.global_batch 32 is not divisible by devices.hosts 3 x devices.ranks 2",
        ),
        (
            {"schedule__warmup_epochs": 12, "training__epochs": 12},
            "schedule.warmup_epochs 12.0 leaves none of training.epochs 12",
        ),
        (
            {"data__source": "image_folder"},
            "data.source image_folder needs data.path (--data FOLDER)",
        ),
        ({"data__path": "/images"}, "data.source digits is embedded and takes no data.path"),
        ({"data__source": "lists"}, "data.source lists needs data.path (--data FOLDER)"),
        (
            {"data__layout": "in_place"},
            "data.layout in_place is for images that are files, those of data.source digits are "
            "not: set it to links",
        ),
        (
            {"data__val_labels": "labels.txt"},
            "data.val_labels is for source imagenet, data.source is digits: set it to null",
        ),
        (
            {"data__subset": True},
            "data.subset is for sources imagenet and lists, data.source is digits: set it to false",
        ),
        (
            {"precision__amp_level": "O3", "devices__operators": "native"},
            "devices.operators native computes in float32, precision.amp_level is O3: use O0, or "
            "operators auto or plain",
        ),
        (
            {"precision__loss_scale_type": "dynamic"},
            "precision.loss_scale_type dynamic finds its scale by overflows: it needs "
            "precision.drop_overflow_update: true",
        ),
        (
            {"weights__freeze": "backbone"},
            "weights.freeze backbone without weights.name would keep a random backbone: name a "
            "release (--weights), or set weights.freeze to nothing",
        ),
        (
            {"optimizer__nesterov": True, "optimizer__name": "adamw"},
            "nesterov needs optimizer.name: momentum",
        ),
        ({"schedule__min_lr": 1.0, "schedule__lr": 0.5}, "min_lr 1.0 exceeds lr 0.5"),
        (
            {"augment__crop_scale": [0.9, 0.5]},
            "augment.crop_scale must be 0 < low <= high, got [0.9, 0.5]",
        ),
        (
            {"augment__crop_ratio": [0.0, 1.0]},
            "augment.crop_ratio must be 0 < low <= high, got [0.0, 1.0]",
        ),
        ({"augment__crop_scale": [0.5, 1.5]}, "augment.crop_scale must not exceed 1, got 1.5"),
    ],
)
def test_an_impossible_combination_is_refused_in_its_own_words(
    changes: dict[str, Any], message: str
) -> None:
    assert refusal(plain(**changes)) == message


def test_every_fault_is_named_at_once() -> None:
    message = refusal(plain(training__epoch=3, network__variant="xs"))
    assert "unknown key training.epoch" in message
    assert "network.variant: input should be" in message


def test_overrides_replace_single_values() -> None:
    recipe = load_recipe("digits", {"training.epochs": 3, "data.train_limit": 40})
    assert (recipe.training.epochs, recipe.data.train_limit) == (3, 40)
    assert recipe.training.seed == load_recipe("digits").training.seed


@pytest.mark.parametrize(
    "key", ["training.epoch", "trianing.epochs", "epochs", "augment.mix.probability", "name.x", ""]
)
def test_overriding_a_key_that_the_recipe_does_not_have_is_refused(key: str) -> None:
    with pytest.raises(
        RecipeError, match=r"has no key .* to override.*: `mixnet recipe show` lists"
    ):
        load_recipe("digits", {key: 3})


@pytest.mark.parametrize("key", ["training.epoch", "trianing.epochs"])
def test_a_misspelt_override_is_told_the_key_that_was_meant(key: str) -> None:
    with pytest.raises(RecipeError, match=r"did you mean training\.epochs\?"):
        load_recipe("digits", {key: 3})


def test_an_override_is_checked_as_strictly_as_the_file() -> None:
    with pytest.raises(RecipeError, match=r"training\.epochs: .* got '3'"):
        load_recipe("digits", {"training.epochs": "3"})


@pytest.mark.parametrize("name", ["digits", "mixnet_l"])
def test_a_saved_recipe_loads_as_the_same(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    save_recipe(recipe, tmp_path / "run" / "recipe.yaml")
    again = load_recipe(str(tmp_path / "run" / "recipe.yaml"))
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


def test_the_fingerprint_ignores_name_description_and_devices_only() -> None:
    recipe = parse_recipe(plain(), "digits")
    renamed = plain(name="other", description="other", devices__ranks=16, devices__target="GPU")
    assert parse_recipe(renamed, "renamed").fingerprint == recipe.fingerprint
    changed = {
        parse_recipe(plain(**change), "changed").fingerprint
        for change in (
            {"training__seed": 4321},
            {"input__mean": [78.0, 78.0, 79.0]},
            {"network__stem_stride": 2},
            {"data__train_limit": 40},
        )
    }
    assert len(changed | {recipe.fingerprint}) == 5


def test_whole_numbers_stand_for_fractions_without_another_fingerprint() -> None:
    assert parse_recipe(plain(precision__loss_scale=1), "digits").fingerprint == (
        parse_recipe(plain(precision__loss_scale=1.0), "digits").fingerprint
    )


LATER = (
    "network.drop_path_rate",
    "weights.freeze",
    "weights.ema",
    "training.checkpoint_every_steps",
    "training.ema_decay",
    "training.batch_statistics",
    "training.chance_epochs",
    "training.on_divergence",
    "training.rewinds",
    "optimizer.clip_norm",
    "optimizer.layer_decay",
    "schedule.lr_batch",
    "schedule.name",
    "devices.micro_batch",
    "devices.stall_seconds",
    "devices.compile_seconds",
    "devices.grace_seconds",
    "devices.hosts",
    "devices.min_hosts",
    "devices.join_seconds",
    "devices.lost_seconds",
    "devices.run_store",
    "devices.restarts",
    "devices.full_disk_seconds",
)


def of_the_first_release() -> dict[str, Any]:
    data = plain()
    for key in LATER:
        section, name = key.split(".")
        del data[section][name]
    for section in ("selection", "acceptance"):
        del data[section]
    data["training"]["keep_checkpoints"] = 8
    return data


def test_a_file_from_before_the_later_keys_means_what_it_meant() -> None:
    recipe = parse_recipe(of_the_first_release(), "old.yaml")
    # As the first release computed it: its runs are found and go on.
    assert recipe.fingerprint == "a22ba20c7c9d022f2918720136318160a30af093a7e701dba999785d07b921e4"
    assert (recipe.optimizer.clip_norm, recipe.optimizer.layer_decay) == (None, 1.0)
    assert (recipe.network.drop_path_rate, recipe.weights.freeze) == (0.0, "nothing")
    training = recipe.training
    assert (training.ema_decay, training.chance_epochs) == (None, None)
    assert (training.batch_statistics, training.checkpoint_every_steps) == ("local", None)
    assert (recipe.lr_factor, recipe.accumulation) == (1.0, 1)
    assert recipe.selection.policy == "best"
    assert recipe.acceptance.min_top1 is None


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_a_bundled_file_states_every_key(name: str) -> None:
    data = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    stated = {
        f"{section}.{key}"
        for section, values in data.items()
        if isinstance(values, dict)
        for key in values
    }
    assert set(LATER) <= stated
    effective = load_recipe(name).model_dump()
    assert stated == {
        f"{section}.{key}"
        for section, values in effective.items()
        if isinstance(values, dict)
        for key in values
    }


def test_a_later_key_can_be_set_over_a_file_from_before_it(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(of_the_first_release()))
    recipe = load_recipe(str(path), {"devices.micro_batch": 4, "training.ema_decay": 0.99})
    assert (recipe.devices.micro_batch, recipe.training.ema_decay) == (4, 0.99)


def test_reading_a_recipe_once_serves_several_sets_of_overrides() -> None:
    file = read_recipe("digits")
    assert file.recipe({"training.epochs": 3}).training.epochs == 3
    assert file.recipe() == load_recipe("digits")


@pytest.mark.parametrize(
    ("changes", "parts", "sentence"),
    [
        ({}, 1, "global batch 32 = 2 ranks x 16, learning rate 0.002"),
        ({"devices__ranks": 1}, 1, "global batch 32 = 1 rank x 32, learning rate 0.002"),
        (
            {"devices__micro_batch": 4, "training__global_batch": 2048},
            256,
            "global batch 2,048 = 2 ranks x 256 accumulated x 4, learning rate 0.002",
        ),
        (
            # 10 would not divide 16: 8 is the most that does.
            {"devices__micro_batch": 10},
            2,
            "global batch 32 = 2 ranks x 2 accumulated x 8, learning rate 0.002",
        ),
        (
            {"schedule__lr_batch": 1024, "training__global_batch": 256, "schedule__lr": 0.2},
            1,
            "global batch 256 = 2 ranks x 128, learning rate 0.05 = 0.2 scaled by 256/1024",
        ),
        (
            {"devices__hosts": 4, "devices__micro_batch": 2},
            2,
            "global batch 32 = 4 hosts x 2 ranks x 2 accumulated x 2, learning rate 0.002",
        ),
        (
            {"schedule__lr_batch": 32},
            1,
            "global batch 32 = 2 ranks x 16, learning rate 0.002",
        ),
    ],
)
def test_the_batch_and_its_rate_are_said_in_one_sentence(
    changes: dict[str, Any], parts: int, sentence: str
) -> None:
    recipe = parse_recipe(plain(**changes), "digits")
    assert recipe.batch_sentence == sentence
    assert recipe.accumulation == parts


def test_an_unknown_recipe_lists_the_bundled_ones(tmp_path: Path) -> None:
    missing = str(tmp_path / "mine.yaml")
    with pytest.raises(RecipeError) as raised:
        load_recipe(missing)
    assert str(raised.value) == (
        f"no recipe {missing!r}: neither a file nor one of {', '.join(recipe_names())}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "is not valid YAML: while parsing a flow"),
        (b"\xff\xfe\xff", "is not valid YAML"),
        (b"- digits\n", "expected keys and values, got list"),
        (b"", "expected keys and values, got NoneType"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_date_is_no_value() -> None:
    data = plain(name=yaml.safe_load("2026-01-01"))
    with pytest.raises(InputError, match="a recipe holds only numbers, text, lists and keys"):
        parse_recipe(data, "mine.yaml")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(RecipeError, match="is not valid YAML"):
        load_recipe(str(path))
    assert not (tmp_path / "made").exists()


def test_openvino_is_refused_where_the_target_is_no_cpu() -> None:
    with pytest.raises(RecipeError, match=r"openvino evaluates on a CPU, .* Ascend: use auto or m"):
        load_recipe("mixnet_s", {"devices.engine": "openvino"})
    assert load_recipe("digits", {"devices.engine": "openvino"}).devices.engine == "openvino"


def test_a_key_without_a_name_is_told_as_such() -> None:
    data = yaml.safe_load((RECIPES / "digits.yaml").read_text())
    with pytest.raises(RecipeError, match="unknown key as a whole"):
        parse_recipe({**data, "": 1}, "mine.yaml")


def in_file(tmp_path: Path, line: str, instead: str) -> Path:
    """The digits recipe with another line."""
    text = (RECIPES / "digits.yaml").read_text()
    assert text.count(f"\n{line}\n") == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(f"\n{line}\n", f"\n{instead}\n"))
    return path


def line_of(path: Path, text: str) -> int:
    return path.read_text().splitlines().index(text) + 1


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "0.001", "1.0e-3", "+1e-3", ".1e-2"])
def test_a_rate_is_a_number_however_it_is_written(number: str, tmp_path: Path) -> None:
    path = in_file(tmp_path, "  lr: 0.002", f"  lr: {number}")
    assert load_recipe(str(path)).schedule.lr == 1e-3


def test_a_rate_that_another_reader_of_yaml_passes_on_as_text_is_a_number() -> None:
    """As Prefect does with a deployment's parameters."""
    assert load_recipe("digits", {"schedule.lr": "1e-3"}).schedule.lr == 1e-3
    assert load_recipe("digits", {"name": "1e-3"}).name == "1e-3"
    crop = load_recipe("digits", {"augment.crop_scale": ("8e-2", 1.0)}).augment.crop_scale
    assert crop == (0.08, 1.0)


@pytest.mark.parametrize("text", ["no", "1:30", "2024-01-01", "010", "1e3", "1_000", "-.5"])
def test_a_name_is_what_was_written(text: str, tmp_path: Path) -> None:
    path = in_file(tmp_path, "name: digits", f"name: {text}")
    recipe = load_recipe(str(path))
    assert recipe.name == text
    save_recipe(recipe, path)
    assert load_recipe(str(path)).name == text
    assert yaml.safe_load(path.read_text())["name"] == text


@pytest.mark.parametrize(
    ("line", "instead", "message"),
    [
        ("  lr: 0.002", "  lr: 1,5", "schedule.lr: input should be a valid number, got '1,5': a"),
        ("  lr: 0.002", "  lr: .nan", "schedule.lr: input should be a finite number, got nan"),
        ("  lr: 0.002", "  lr: 1e400", "schedule.lr: input should be a finite number, got 1e400"),
        ("  epochs: 10", "  epochs: 010", "training.epochs: input should be a valid integer, got"),
        ("  epochs: 10", "  epochs: 1e1", "training.epochs: input should be a valid integer, got"),
        ("  nesterov: false", "  nesterov: no", "optimizer.nesterov: input should be a valid bool"),
        ("  seed: 42", "  seed: 4294967296", "training.seed: input should be less than 4294967296"),
        ("name: digits", "name: 5", "name: input should be a valid string, got 5: put it in"),
        ("name: digits", 'name: "di\\0gits"', "name: input should be text, without the char"),
        ("  path: null", "  path: ''", "data.path: input should not be empty, got"),
        ("  epochs: 10", "  epoch: 10", "unknown key training.epoch (did you mean epochs?)"),
        ("name: digits", "lr: 1", "unknown key lr (did you mean schedule.lr?)"),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_is_told_with_its_line(
    line: str, instead: str, message: str, tmp_path: Path
) -> None:
    path = in_file(tmp_path, line, instead)
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert f"line {line_of(path, instead)}: {message}" in str(raised.value)


def test_a_value_that_is_set_over_the_file_has_no_line_in_it() -> None:
    with pytest.raises(RecipeError, match=r"recipe digits: schedule\.lr: input should"):
        load_recipe("digits", {"schedule.lr": -1.0})
    with pytest.raises(RecipeError, match=r"recipe digits: missing key schedule\.lr"):
        load_recipe("digits", {"schedule": {}})


def test_a_key_that_stands_twice_in_a_recipe_is_refused(tmp_path: Path) -> None:
    path = in_file(tmp_path, "  seed: 42", "  seed: 42\n  epochs: 90")
    first, second = line_of(path, "  epochs: 10"), line_of(path, "  epochs: 90")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert str(raised.value) == (
        f"{path} is not valid YAML: training.epochs stands twice, in lines {first} and {second}: "
        "keep one"
    )


def test_a_long_value_is_not_told_in_full(tmp_path: Path) -> None:
    path = in_file(tmp_path, "  epochs: 10", f"  epochs: {'9' * 5000}")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert len(str(raised.value)) < 400 + len(str(path))


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_a_value_of_any_depth_that_is_set_is_refused(depth: int) -> None:
    value: Any = []
    for _ in range(depth):
        value = [value]
    with pytest.raises(InputError):
        load_recipe("digits", {"augment.mix": value})


@pytest.mark.parametrize(
    ("name", "words"),
    [(".", "a folder, neither a file"), ("x" * 5000, "cannot read"), ("a\0b", "no re")],
)
def test_what_is_no_file_is_no_recipe(name: str, words: str) -> None:
    with pytest.raises(MixnetError, match=words):
        load_recipe(name)
