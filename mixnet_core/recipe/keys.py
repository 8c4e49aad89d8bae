"""A recipe's keys by their dotted names, and what is said of one that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from mixnet_core.kinds.kind import did_you_mean
from mixnet_core.recipe.sections import CREDENTIALS, Section
from mixnet_core.storage.faults import fault
from mixnet_core.storage.uris import shown_key
from mixnet_core.storage.yaml_files import Document
from mixnet_core.storage.yaml_scalars import advice, value_at

Model = type[BaseModel]


def section_of(recipe: Model, sections: Sequence[Any]) -> Model | None:
    """Returns the class of a section within a recipe's; None where there is no section."""
    model = recipe
    for name in sections:
        field = model.model_fields.get(name)
        annotation = field.annotation if field else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not models:
            return None
        model = models[0]
    return model


def keys_of(model: Model) -> list[str]:
    """Returns the keys that a section may have."""
    more = model.more_keys() if issubclass(model, Section) else ()
    return [*model.model_fields, *more]


def near_key(recipe: Model, key: str) -> str:
    """Returns " (did you mean SECTION.KEY?)" for a dotted key that is near a known one, else ""."""
    dotted = [
        f"{section}.{known}"
        for section in recipe.model_fields
        if (model := section_of(recipe, [section]))
        for known in keys_of(model)
    ]
    # Of the section that it belongs to, if it stands in another one or in none.
    moved = [known for known in dotted if known.partition(".")[2] == key.rpartition(".")[2]]
    near = f" (did you mean {' or '.join(moved)}?)" if moved else ""
    return did_you_mean(key, dotted) or near


def said(item: Any, recipe: Model, data: Any, document: Document | None) -> str:
    """Says a fault in the words of who wrote the recipe, with its line.

    Args:
        item: one of `ValidationError.errors()`.
        recipe: the class that was validated.
        data: what was.
        document: says the lines; None where they are not known.
    """
    line = document.line(item["loc"]) if document else None
    what = _said(item, recipe, data)
    return f"line {line}: {what}" if line else what


def _said(item: Any, recipe: Model, data: Any) -> str:
    where = shown_key(item["loc"]) or "as a whole"
    if item["type"] == "extra_forbidden":
        *sections, last = item["loc"]
        model = section_of(recipe, sections)
        near = did_you_mean(str(last), model.model_fields if model else ())
        return f"unknown key {where}{near or near_key(recipe, str(last))}"
    if item["type"] == "missing":
        return f"missing key {where}"
    if item["type"] == CREDENTIALS:
        return fault(item)
    if item["type"] in ("value_error", "unknown"):
        return str(item["msg"].removeprefix("Value error, "))
    # As it was typed, which JSON has lost.
    typed = value_at(data, item["loc"])
    got = item["input"] if typed is None else typed
    wanted = item["type"].partition("_")[0]
    return fault({**item, "input": got}, quoted=True, lowered=True) + advice(got, wanted)
