"""Training that starts from a release takes over its network, and its classifier if it fits.

Where the recipe's file says otherwise, the release goes over it: weights fit one network only.
What somebody set for this run (`--set`) goes over both. Of a file by its path as much is known as
it shows, and as the release, the run or the catalog says that it comes from.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mixnet_core.errors import InputError, IntegrityError, MixnetError
from mixnet_core.model.variants import FlavourName, VariantName
from mixnet_core.recipe.recipe import Recipe, parse_recipe, stored_recipe
from mixnet_core.recipe.sections import InChannels, Input, StemStride
from mixnet_core.release.catalog import CatalogEntry, stands_for
from mixnet_core.release.initial import find_initial
from mixnet_core.release.local_weights import LocalWeights
from mixnet_core.release.manifest import PublishedRelease
from mixnet_core.runs.records import trained_dataset
from mixnet_core.runs.run_dir import RunDir
from mixnet_core.storage.faults import faults
from mixnet_core.storage.open import open_storage
from mixnet_core.storage.uris import shown_words
from mixnet_core.storage.yaml_files import parse_yaml

RESET = "weights.reset_classifier"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Describes weights that training starts from, as far as they say.

    Attributes:
        name: for people: "release mine" or "file weights.ckpt".
        network: keys of a recipe's network section with their values.
        classes: names in label order; None where only their number is known, or nothing.
        num_classes: None where it is not known.
        input: how its images were made into pixels; None where it is not known.
        path: a file's, absolute; None for what is looked up by its name.
        assumed: what was assumed of its flavour, in one line; "" if nothing was.
        stands_for: where an alias was named, the name or URI of the release that it stands for.
    """

    name: str
    network: dict[str, Any]
    classes: tuple[str, ...] | None
    num_classes: int | None
    input: Input | None = None
    path: str | None = None
    assumed: str = ""
    stands_for: str | None = None


def find_start(name_or_uri: str, registry: str) -> Start:
    """Looks initial weights up without fetching them.

    Args:
        name_or_uri, registry: as `initial.find_initial` takes them.

    Raises:
        InputError: there are none, or they are of a network that is not known here.
        MixnetError: as `find_initial`.
    """
    found = find_initial(name_or_uri, registry)
    if isinstance(found, LocalWeights):
        return start_of_file(found)
    if isinstance(found, CatalogEntry):
        return _of_entry(found)
    return replace(_of_release(found), stands_for=stands_for(name_or_uri, found))


def start_overrides(
    recipe: Recipe, start: Start, classes: tuple[str, ...], settled: Collection[str]
) -> dict[str, Any]:
    """Returns the recipe's keys that the release decides: dotted key -> value.

    The classifier is kept where the dataset has the release's classes, in their order, or as many
    where their names are not known; else it starts afresh. A recipe that says so has a new one
    anyway. A warning says where the network is not the one that the recipe's file names; another
    one says where the pixels are.

    Args:
        classes: the dataset's.
        settled: keys that stay as they are in the recipe.

    Raises:
        InputError: the classifier was to be kept and has another number of classes.
    """
    found = {
        f"network.{key}": value
        for key, value in start.network.items()
        if f"network.{key}" not in settled
    }
    if start.num_classes is not None and not recipe.weights.reset_classifier:
        if RESET not in settled:
            found[RESET] = classes != start.classes if start.classes else _differ(classes, start)
        elif _differ(classes, start):
            raise InputError(
                f"the dataset has {len(classes)} classes, the {start.name} "
                f"{start.num_classes}: its classifier cannot be kept, set {RESET}=true"
            )
    # Wherever the command is given the next time, and whatever the alias stands for by then.
    kept = start.path or start.stands_for
    if kept is not None:
        found["weights.name"] = kept
    if start.assumed and "network.flavour" not in settled:
        log.warning("the %s: %s (--set network.flavour=tf)", start.name, start.assumed)
    _tell(recipe, start, found)
    return found


def _of_entry(entry: CatalogEntry) -> Start:
    network = {key: getattr(entry, key) for key in _Network.model_fields}
    return Start(f"release {entry.name}", network, entry.classes, entry.num_classes)


def _of_release(release: PublishedRelease) -> Start:
    facts = _facts(release)
    return Start(
        name=f"release {release.name}",
        network=facts.model_dump(include=set(_Network.model_fields), exclude_none=True),
        classes=None if facts.classes is None else tuple(facts.classes),
        num_classes=None if facts.classes is None else len(facts.classes),
        input=_input(release),
    )


def start_of_file(weights: LocalWeights) -> Start:
    """Says what is known of a file: by its release or run, by the catalog, by its shapes.

    Raises:
        MixnetError: what it lies in is of a network that is not known here, or cannot be read.
    """
    origin, seen, told = weights.origin, weights.network, weights.told
    name = f"file {weights.name}"
    network = {"variant": seen.variant, "in_channels": seen.in_channels}
    start = Start(name, network, None, seen.num_classes)
    if origin is not None and origin.release is not None:
        start = replace(_of_release(origin.release), name=f"{name} of {origin.name}")
    elif origin is not None and origin.recipe is not None:
        recipe = stored_recipe(origin.recipe)
        start = replace(
            start,
            name=f"{name} of {origin.name}",
            network={key: getattr(recipe.network, key) for key in _Network.model_fields},
            classes=_of_run(RunDir(origin.recipe.parent)),
            input=recipe.input,
        )
    elif told.entry is not None:
        start = replace(_of_entry(told.entry), name=f"{name} of release {told.entry.name}")
    elif told.network:
        start = replace(
            start,
            network=network | told.network,
            classes=told.classes if len(told.classes or ()) == seen.num_classes else None,
            assumed=told.assumed,
        )
    else:
        log.warning(
            "the %s shows a MixNet-%s of %d classes; its network.flavour and stem_stride do not "
            "show and are the recipe's",
            name,
            seen.variant.upper(),
            seen.num_classes,
        )
    return replace(start, path=str(weights.path))


def _of_run(run: RunDir) -> tuple[str, ...] | None:
    """Returns the classes that a run was trained for; None where that is not known."""
    try:
        trained = trained_dataset(run)
    except MixnetError:
        return None
    return None if trained is None else trained.classes


class _Network(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    variant: VariantName | None = None
    flavour: FlavourName | None = None
    in_channels: InChannels | None = None
    stem_stride: StemStride | None = None


class _Facts(_Network):
    classes: list[str] | None = Field(default=None, min_length=1)


def _facts(release: PublishedRelease) -> _Facts:
    try:
        return _Facts.model_validate(release.facts)
    except ValidationError as error:
        raise InputError(
            f"release {release.uri} is of a network that is not known here "
            f"({faults(error, quoted=True)}): start from another one"
        ) from None


def _input(release: PublishedRelease) -> Input | None:
    """Returns the published recipe's input section; None where there is none that can be read.

    It is for a warning only, so a broken recipe does not end the run.
    """
    file = release.files.get("recipe")
    if file is None:
        return None
    where = f"{release.uri}/{file.name}"
    try:
        content = open_storage(release.uri).read(file.name)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise IntegrityError(f"{where} is not what was published")
        document = parse_yaml(content, where)
        return parse_recipe(document.value, where, document).input
    except (InputError, IntegrityError) as error:
        reason = shown_words(" ".join(str(error).split()))
        log.warning(
            "cannot compare the pixels that %s was trained on with this recipe's: %s",
            release.name,
            reason,
        )
        return None


def _differ(classes: tuple[str, ...], start: Start) -> bool:
    return len(classes) != start.num_classes


def _tell(recipe: Recipe, start: Start, found: dict[str, Any]) -> None:
    said = {f"network.{key}": value for key, value in recipe.network.model_dump().items()}
    changed = [
        f"{key} {value} (not {said[key]})"
        for key, value in found.items()
        if key in said and said[key] != value
    ]
    if changed:
        log.warning("as the %s has it: %s", start.name, ", ".join(changed))
    if start.input is None:
        return
    channels = found.get("network.in_channels", recipe.network.in_channels)
    for key in ("mean", "std"):
        ours, theirs = (getattr(item, key)[:channels] for item in (recipe.input, start.input))
        if ours != theirs:
            log.warning(
                "the %s was trained with input.mean %s and input.std %s, this recipe says %s and "
                "%s: set them alike if the images are of the same kind",
                start.name,
                *(
                    json.dumps(getattr(item, name)[:channels])
                    for item in (start.input, recipe.input)
                    for name in ("mean", "std")
                ),
            )
            return
