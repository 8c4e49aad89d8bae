"""Recipe: everything that decides what a run computes, strict and typed, in one complete file."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mixnet_core.errors import InputError, RecipeError
from mixnet_core.files import fingerprint, os_errors_explained, write_text
from mixnet_core.model.variants import FlavourName, VariantName

RECIPES = Path(__file__).parent / "recipes"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Triple = tuple[float, float, float]


class Section(BaseModel):
    """Refuses unknown keys and does not turn one type into another ("3" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Network(Section):
    """Which MixNet."""

    variant: VariantName
    flavour: FlavourName = Field(description="whose conventions the weights follow")
    num_classes: Annotated[int, Field(ge=1)] | None = Field(
        description="null: as many as the dataset has"
    )
    in_channels: Literal[1, 3] = Field(description="1: images are read as grey")
    drop_rate: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="dropped before the classifier"
    )
    stem_stride: Literal[1, 2] = Field(
        description="2 as published; 1 keeps twice the resolution for small images"
    )


class Weights(Section):
    """What training starts from."""

    name: str | None = Field(description="a release's name or URI; null: from scratch")
    reset_classifier: bool = Field(
        description="leave the classifier freshly initialised, as another class count needs"
    )


class Data(Section):
    """Which images, and how they are split."""

    source: Literal["digits", "fashion_mnist", "image_folder"]
    path: str | None = Field(
        description="image_folder: the folder with train/ and optionally val/; fashion_mnist: the "
        "folder of IDX files, null looks in known places, then downloads; digits: null"
    )
    train_limit: Annotated[int, Field(ge=1)] | None = Field(
        description="use at most so many training images, class-balanced; null: all"
    )
    val_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="cut from the training images where the source has no val split of its own"
    )
    select_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="cut from the training images to select checkpoints on"
    )
    split_seed: Annotated[int, Field(ge=0)]


class Input(Section):
    """From a decoded image to the network's input, the same in training and evaluation."""

    image_size: Annotated[int, Field(ge=4, le=1024)] = Field(description="pixels, square")
    crop_pct: Annotated[float, Field(gt=0, le=1)] = Field(
        description="evaluation resizes the short side to image_size / crop_pct, then crops"
    )
    interpolation: Literal["bilinear", "bicubic"]
    mean: Triple = Field(description="per channel in 0..255; one grey channel uses the first")
    std: Triple


class RandAugment(Section):
    """N random operations an image (arXiv:1909.13719), in timm's dialect."""

    operations: Annotated[int, Field(ge=1)]
    magnitude: Annotated[float, Field(ge=0, le=10)]
    magnitude_std: Annotated[float, Field(ge=0)]
    increasing: bool = Field(description="severity grows with magnitude for every op: timm's inc1")


class RandomErasing(Section):
    """A rectangle of zeros after normalising (arXiv:1708.04896)."""

    probability: Share
    scale: tuple[float, float]
    ratio: tuple[float, float]


class Mix(Section):
    """Mixup (arXiv:1710.09412) and cutmix (arXiv:1905.04899): one of them a batch."""

    mixup_alpha: Annotated[float, Field(ge=0)]
    cutmix_alpha: Annotated[float, Field(ge=0)]
    probability: Share = Field(description="of mixing a batch at all")
    switch_probability: Share = Field(description="of cutmix where both are on")


class Augment(Section):
    """Random changes of training images."""

    crop_scale: tuple[float, float] = Field(
        description="share of the area; [1, 1] with ratio [1, 1] only resizes"
    )
    crop_ratio: tuple[float, float] = Field(description="width / height")
    hflip: Share = Field(description="probability of a mirror image")
    rand_augment: RandAugment | None
    erasing: RandomErasing | None
    mix: Mix | None

    @model_validator(mode="after")
    def _ranges(self) -> Augment:
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be 0 < low <= high, got [{low}, {high}]")
        if self.crop_scale[1] > 1:
            raise ValueError(f"crop_scale must not exceed 1, got {self.crop_scale[1]}")
        return self


class Optimizer(Section):
    """SGD with momentum, or AdamW."""

    name: Literal["momentum", "adamw"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(description="AdamW's beta1")
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    decay_norm_and_bias: bool = Field(
        description="decay BatchNorm's and biases too, as MindCV does"
    )

    @model_validator(mode="after")
    def _nesterov_is_momentum(self) -> Optimizer:
        if self.nesterov and self.name != "momentum":
            raise ValueError("nesterov needs optimizer.name: momentum")
        return self


class Schedule(Section):
    """Learning rate per step: linear from 0 over the warm-up, then half a cosine, then constant."""

    lr: Positive = Field(description="the peak")
    min_lr: Annotated[float, Field(ge=0)]
    warmup_epochs: Annotated[float, Field(ge=0)]
    decay_epochs: Positive

    @model_validator(mode="after")
    def _falls(self) -> Schedule:
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} exceeds lr {self.lr}")
        return self


class Precision(Section):
    """Mixed precision."""

    amp_level: Literal["O0", "O2", "O3"] = Field(description="O0 is float32")
    loss_scale: Positive
    loss_scale_type: Literal["fixed", "dynamic"]
    drop_overflow_update: bool


class Training(Section):
    """How long and how much at a time."""

    epochs: Annotated[int, Field(ge=1)]
    global_batch: Annotated[int, Field(ge=1)] = Field(
        description="images an optimizer step, over all ranks"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    checkpoint_every_epochs: Annotated[int, Field(ge=1)]
    keep_checkpoints: Annotated[int, Field(ge=1)] = Field(description="the newest so many")
    log_every_steps: Annotated[int, Field(ge=1)]


class Devices(Section):
    """Where it runs. Not part of what is computed, except for the global batch's division."""

    target: Literal["CPU", "Ascend", "GPU"]
    ranks: Annotated[int, Field(ge=1)] = Field(
        description="worker processes, one a device; 1 runs without msrun"
    )
    threads_per_rank: Annotated[int, Field(ge=0)] = Field(
        description="of the data pipeline and the CPU operators; 0: cores / ranks"
    )
    operators: Literal["auto", "native", "plain"] = Field(
        description="native: this project's CPU operators, compiled on first use; plain: "
        "MindSpore's; auto: native on a CPU with a C++ compiler"
    )
    engine: Literal["auto", "mindspore", "openvino"] = Field(
        description="what evaluates; auto: OpenVINO on a CPU where it is installed"
    )


class Recipe(Section):
    """What to train. Every key is required, so a file says all; `mixnet recipe show` prints one."""

    name: str
    description: str
    network: Network
    weights: Weights
    data: Data
    input: Input
    augment: Augment
    training: Training
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    devices: Devices

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.training.global_batch % self.devices.ranks:
            raise ValueError(
                f"training.global_batch {self.training.global_batch} is not divisible by "
                f"devices.ranks {self.devices.ranks}"
            )
        if self.schedule.warmup_epochs >= self.training.epochs:
            raise ValueError(
                f"schedule.warmup_epochs {self.schedule.warmup_epochs} leaves none of "
                f"training.epochs {self.training.epochs}"
            )
        if self.data.source == "image_folder" and self.data.path is None:
            raise ValueError("data.source image_folder needs data.path (--data FOLDER)")
        if self.data.source == "digits" and self.data.path is not None:
            raise ValueError("data.source digits is embedded and takes no data.path")
        if self.devices.target == "CPU" and self.precision.amp_level != "O0":
            raise ValueError(
                f"precision.amp_level {self.precision.amp_level} needs an accelerator: "
                "use O0 with devices.target CPU"
            )
        if self.devices.engine == "openvino" and self.devices.target != "CPU":
            raise ValueError(
                f"devices.engine openvino evaluates on a CPU, devices.target is "
                f"{self.devices.target}: use auto or mindspore"
            )
        return self

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of what is computed: every value except name, description and devices.

        Devices are left out so that a run can be continued on another number of ranks; its global
        batch stays the same.
        """
        return fingerprint(self.model_dump(mode="json", exclude={"name", "description", "devices"}))

    @property
    def rank_batch(self) -> int:
        """Images a step on one rank."""
        return self.training.global_batch // self.devices.ranks


def recipe_names() -> list[str]:
    """The bundled recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A bundled recipe by name or a YAML file by path, with single values replaced.

    Args:
        name_or_path: e.g. "digits" or "my/recipe.yaml".
        overrides: dotted key -> value, e.g. {"training.epochs": 3}; a key that the recipe does not
            have is an error.

    Raises:
        RecipeError: unknown recipe or key, wrong type, impossible value; every fault is named.
    """
    path = _find(name_or_path)
    try:
        with os_errors_explained(path, "read"):
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: expected keys and values, got {type(data).__name__}")
    for key, value in (overrides or {}).items():
        _override(data, key, value)
    return parse_recipe(data, str(path))


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """A Recipe from plain data; `where` is named in errors.

    Raises:
        RecipeError: as `load_recipe`.
    """
    try:
        # Lists stand for tuples in YAML: JSON mode accepts that, and is as strict otherwise.
        return Recipe.model_validate_json(_as_json(data))
    except ValidationError as error:
        faults = "; ".join(_fault(item, data) for item in error.errors())
        raise RecipeError(f"recipe {where}: {faults}") from error


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the effective recipe as YAML, readable by `load_recipe`."""
    write_text(path, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def _find(name_or_path: str) -> Path:
    if name_or_path in recipe_names():
        return RECIPES / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise RecipeError(
        f"no recipe {name_or_path!r}: neither a file nor one of {', '.join(recipe_names())}"
    )


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    section: Any = data
    for name in sections:
        section = section.get(name) if isinstance(section, dict) else None
    if not isinstance(section, dict) or last not in section:
        close = difflib.get_close_matches(key, _dotted(data), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise RecipeError(
            f"the recipe has no key {key!r} to override{hint}: `mixnet recipe show` lists all"
        )
    section[last] = value


def _dotted(data: dict[str, Any]) -> list[str]:
    return [
        f"{section}.{key}"
        for section, values in data.items()
        if isinstance(values, dict)
        for key in values
    ]


def _as_json(data: dict[str, Any]) -> str:
    try:
        return json.dumps(data)
    except TypeError as error:
        raise InputError(f"a recipe holds only numbers, text, lists and keys: {error}") from error


def _fault(item: Any, data: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "as a whole"
    if item["type"] == "extra_forbidden":
        return f"unknown key {where}{_did_you_mean(item['loc'])}"
    if item["type"] == "missing":
        return f"missing key {where}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message
    return f"{where}: {message[0].lower()}{message[1:]}, got {item['input']!r}"


def _did_you_mean(loc: tuple[Any, ...]) -> str:
    model: Any = Recipe
    for part in loc[:-1]:
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not models:
            return ""
        model = models[0]
    close = difflib.get_close_matches(str(loc[-1]), list(model.model_fields), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
