"""`python -m docs.generate`: writes docs/reference from the code.

A page is a function that returns its Markdown; `PAGES` lists them. `tests/test_documents.py` fails
where a page in docs/reference differs from what its function returns.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import OptionInfo, ParameterInfo

import mixnet_core
from mixnet_core.cli.app import app
from mixnet_core.errors import EXIT_CODES, MixnetError
from mixnet_core.recipe.recipe import Recipe, load_recipe, recipe_names
from mixnet_core.stages import table as stage_table
from mixnet_core.storage.yaml_files import MOST_BYTES, MOST_LEVELS, MOST_VALUES

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `python -m docs.generate`. Change the code, not this page. -->"
# The recipe whose values stand beside each key, as an example.
EXAMPLE = "mixnet_s"


def recipe_page() -> str:
    """Returns every key of a recipe with its type, range, default and meaning."""
    parts = [
        "A recipe is one YAML file that says everything that a run computes. `mixnet recipe show "
        "NAME` prints one in full. An unknown key is refused by name, a repeated one with its "
        "lines.",
        f"The bundled recipes are {_listed(recipe_names())}. A key without a default must stand in "
        f"the file. The column `{EXAMPLE}` shows that recipe's value.",
        "Any key can be set on the command line: `--set training.seed=7`.",
        "## How values are read",
        "In recipes, MindCV's files, catalogs and after `--set`: what YAML 1.1 and YAML 1.2 read "
        "alike is that; where they differ (`no`, `yes`, `1:30`, `010`, `1_000`, `2024-01-01`) it "
        "is the text that stands there, except that a number such as `1e-3` is one where a number "
        "is wanted. Text where another type is wanted, and another type where text is, is refused "
        "with its line.",
        "Anchors, aliases and `<<` work; other tags than YAML's own, a second document, more than "
        f"{MOST_BYTES // 1024} KiB, {MOST_LEVELS} levels or {MOST_VALUES:,} values are refused. A "
        "file is in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.",
    ]
    example = load_recipe(EXAMPLE).model_dump(mode="json")
    top = []
    for name, field in Recipe.model_fields.items():
        section = _section(field)
        if section is None:
            top.append(_recipe_row(name, field, example))
    parts += ["## At the top", _table(RECIPE_HEAD, top)]
    for name, field in Recipe.model_fields.items():
        section = _section(field)
        if section is not None:
            parts += _recipe_section(name, section, example.get(name) or {})
    return _page("Recipe keys", parts)


RECIPE_HEAD = ("key", "type and range", "default", f"`{EXAMPLE}`", "meaning")


WHAT_TO_LOOK_AT = {
    0: "",
    2: "the option, the recipe's key, the path, the data",
    3: "permission, disk, device, package, credentials",
    4: "digests, parameter names and shapes; also a release that regressed",
    5: "choose another name, or leave it",
    6: "the log that the message names",
    7: "nothing: the same command may succeed later",
    8: "the message and the report say what falls short of what the recipe demands",
    75: "nothing: the same command goes on from the step that was saved",
    130: "nothing: the same command goes on",
    143: "nothing: the same command goes on",
}


def exit_codes_page() -> str:
    """Returns the exit codes and the errors behind them."""
    rows = [
        (f"`{code}`", text, WHAT_TO_LOOK_AT[code], ", ".join(_errors_with(code)))
        for code, text in EXIT_CODES.items()
    ]
    return _page(
        "Exit codes",
        [
            "The `mixnet` command ends with one of these. Results go to standard output, progress "
            "and errors to standard error, an error as one line. With `--json`, for scripts, "
            "standard output is one JSON object whatever happens: the results that there are, and "
            "under `error` its `type`, `message`, `retryable` and `exit_code`.",
            _table(("code", "meaning", "what to look at", "errors in `mixnet_core.errors`"), rows),
            "A fault of the program itself ends with Python's traceback and 1: report it.",
        ],
    )


def commands_page() -> str:
    """Returns every subcommand of `mixnet` with its arguments and options."""
    every = list(commands())
    stages = ("run", *(stage.name for stage in stage_table.STAGES))
    rows = {command.words: _options(command) for command in every}
    common = [row for row in rows["run"] if all(row in rows[stage] for stage in stages)]
    parts = [
        "`mixnet COMMAND --help` prints the same. `mixnet --version` prints the version. What a "
        "command ends with: [Exit codes](exit-codes.md).",
        "## Options of run and of every stage",
        "`mixnet run` and the seven stages take all of these. A stage reads what the stages before "
        "it left in the run.",
        _table(OPTION_HEAD, common),
    ]
    for command in every:
        own = rows[command.words]
        parts += [f"## mixnet {command.words}", *_paragraphs(command.help)]
        if command.words in stages:
            own = [row for row in own if row not in common]
            more = "; besides" if own else ""
            parts.append(
                f"It takes the [options of every stage](#options-of-run-and-of-every-stage){more}"
                f"{':' if own else '.'}"
            )
        parts.append(_table(OPTION_HEAD, own) if own else "")
    return _page("The mixnet command", parts)


OPTION_HEAD = ("option", "value", "default", "meaning")


def stages_page() -> str:
    """Returns the stages in their order, with their retries under Prefect."""
    rows = []
    stages = (stage_table.CHECK, *stage_table.STAGES)
    for stage in stages:
        retries = stage.retries
        delays = ", ".join(f"{delay:.10g}" for delay in retries.delays)
        spread = f", up to {100 * retries.spread:.10g} % more at random" if retries.spread else ""
        rows.append((f"`{stage.name}`", stage.help, f"{delays}{spread}", retries.reason))
    return _page(
        "Stages",
        [
            f"Seven stages follow each other: {_listed([stage.name for stage in stages[1:]])}. "
            "`check` comes before them and looks for what would end them.",
            "A stage whose result is on record is skipped when what it was made from is unchanged. "
            "Under Prefect a stage that failed is tried again only where its error says that this "
            "may help. The delays are in seconds.",
            _table(
                ("stage", "what it does", "delays before each retry, s", "why these delays"), rows
            ),
        ],
    )


def flows_page() -> str:
    """Returns the deployments of prefect.yaml with their parameters."""
    parts = [
        "The deployments of `prefect.yaml`. A parameter is given as `-p NAME=VALUE` to `prefect "
        "deployment run`, or in the form of the dashboard. A path is one on the worker's machine.",
    ]
    shown: dict[str, str] = {}
    for deployment in deployments():
        flow = deployment.flow
        parts.append(f"## {flow.name}/{deployment.name}")
        parts.append(_whole(deployment.description))
        if deployment.schedule:
            parts.append(f"Schedule: {deployment.schedule}.")
        if flow.name in shown:
            same = f"{flow.name}/{shown[flow.name]}"
            given = ", ".join(f"`{key}` is `{item}`" for key, item in deployment.parameters.items())
            anchor = re.sub(r"[^\w-]", "", same)
            parts.append(f"The parameters of [{same}](#{anchor}), but {given} unless given.")
            continue
        shown[flow.name] = deployment.name
        rows = [_flow_row(name, item, deployment) for name, item in parameters(flow).items()]
        parts.append(_table(("parameter", "type and range", "default", "meaning"), rows))
    return _page("Flow parameters", parts)


def python_page() -> str:
    """Returns what `import mixnet_core` offers, with its docstrings."""
    parts = [
        "What `import mixnet_core` offers to scripts and notebooks. Everything else in the package "
        "is private and may change. The examples run as tests, in a folder with a finished run "
        "`tiny`. MindSpore is loaded when a network is built, not before."
    ]
    for name in mixnet_core.__all__:
        offered = getattr(mixnet_core, name)
        heading = f"{name}{inspect.signature(offered)}" if inspect.isfunction(offered) else name
        heading = re.sub(r"mixnet_core(\.\w+)+\.", "", heading.replace("'", ""))
        parts += [f"### `{name}`", f"```python\n{heading}\n```"]
        parts += [f"```text\n{inspect.getdoc(offered)}\n```"]
    return _page("Python", parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "recipe.md": recipe_page,
    "commands.md": commands_page,
    "exit-codes.md": exit_codes_page,
    "stages.md": stages_page,
    "flows.md": flows_page,
    "python.md": python_page,
}


@dataclass(frozen=True)
class Command:
    """A subcommand of `mixnet`.

    Attributes:
        words: how it is called.
        work: the function, whose signature has typer's arguments and options.
    """

    words: str
    help: str
    work: Callable[..., Any]


def commands() -> Iterator[Command]:
    """Yields the subcommands in the order of `mixnet --help`; groups come last."""
    yield from _commands(app, "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            alone = group.typer_instance.registered_callback
            # A group that does something by itself.
            if alone is not None and alone.callback is not None:
                name, text = str(group.name), inspect.getdoc(alone.callback) or ""
                yield Command(name, text, alone.callback)
            yield from _commands(group.typer_instance, f"{group.name} ")


def _commands(of: typer.Typer, prefix: str) -> Iterator[Command]:
    for item in of.registered_commands:
        assert item.callback is not None
        name = item.name or item.callback.__name__
        text = item.help or inspect.getdoc(item.callback) or ""
        yield Command(f"{prefix}{name}", text, item.callback)


class Deployment(BaseModel):
    """One of prefect.yaml's deployments, as far as the page shows it."""

    name: str
    description: str
    entrypoint: str
    parameters: dict[str, Any]
    schedules: list[dict[str, Any]] = []

    @property
    def flow(self) -> Any:
        """The flow that the entry point names."""
        module, _, name = self.entrypoint.rpartition(".")
        return getattr(importlib.import_module(module), name)

    @property
    def schedule(self) -> str:
        """When it runs by itself; "" if it never does."""
        return "; ".join(f"cron `{item['cron']}` {item['timezone']}" for item in self.schedules)


def deployments() -> list[Deployment]:
    """Reads prefect.yaml."""
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    return [Deployment.model_validate(item) for item in yaml.safe_load(text)["deployments"]]


def parameters(flow: Any) -> dict[str, dict[str, Any]]:
    """Returns the JSON schema of each of a flow's parameters: what the dashboard's form shows."""
    from prefect.utilities.callables import parameter_schema

    found: dict[str, dict[str, Any]] = parameter_schema(flow).properties
    return found


def _flow_row(name: str, schema: Mapping[str, Any], deployment: Deployment) -> tuple[str, ...]:
    required = "default" not in schema
    default = deployment.parameters.get(name, schema.get("default"))
    shown = "required" if required and name not in deployment.parameters else _value(default)
    return f"`{name}`", _schema_type(schema), shown, _whole(schema.get("description", ""))


def _schema_type(schema: Mapping[str, Any]) -> str:
    options = schema.get("anyOf", [schema])
    texts = list(dict.fromkeys(_one_schema_type(option) for option in options))
    return (", or " if any("," in text for text in texts) else " or ").join(texts)


def _one_schema_type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return _listed(schema["enum"], "or")
    kind = schema.get("type", "any")
    words = {
        "integer": "whole number",
        "string": "text",
        "object": "keys and values",
        "boolean": "true or false",
    }
    text = words.get(kind, kind)
    if kind == "array" and "prefixItems" in schema:
        text = f"{len(schema['prefixItems'])} numbers"
    elif kind == "array":
        text = f"list of {_schema_type(schema.get('items', {}))}"
    low = [f"at least {schema['minimum']:.10g}"] if "minimum" in schema else []
    low += [f"above {schema['exclusiveMinimum']:.10g}"] if "exclusiveMinimum" in schema else []
    high = [f"at most {schema['maximum']:.10g}"] if "maximum" in schema else []
    high += [f"below {schema['exclusiveMaximum']:.10g}"] if "exclusiveMaximum" in schema else []
    return ", ".join([text, *low, *high])


def _recipe_section(name: str, section: type[BaseModel], example: Mapping[str, Any]) -> list[str]:
    rows, below = [], []
    for key, field in section.model_fields.items():
        inner = _section(field)
        rows.append(_recipe_row(key, field, example, prefix=f"{name}."))
        if inner is not None:
            below += _recipe_section(f"{name}.{key}", inner, example.get(key) or {})
    return [f"## {name}", _whole(inspect.getdoc(section) or ""), _table(RECIPE_HEAD, rows), *below]


def _recipe_row(
    key: str, field: FieldInfo, example: Mapping[str, Any], prefix: str = ""
) -> tuple[str, ...]:
    default = "" if field.default is PydanticUndefined else _value(field.default)
    value = _value(example[key]) if key in example else ""
    value = "a section" if isinstance(example.get(key), dict) else value
    return f"`{prefix}{key}`", _field_type(field), default, value, field.description or ""


def _field_type(field: FieldInfo) -> str:
    if _section(field) is not None:
        return "a section, or null" if type(None) in _arguments(field.annotation) else "a section"
    chosen = _choices(field)
    if chosen:
        return _listed(chosen, "or")
    annotation: Any = field.annotation
    for item in field.metadata:
        annotation = Annotated[annotation, item]
    return _schema_type(TypeAdapter(annotation).json_schema()).replace("array", "list")


def _choices(field: FieldInfo) -> list[str]:
    """Which names a text may be, as its validator says when it is given another one."""
    if field.annotation is not str or not field.metadata:
        return []
    annotation: Any = field.annotation
    for item in field.metadata:
        annotation = Annotated[annotation, item]
    try:
        TypeAdapter(annotation).validate_python("?")
    except ValidationError as error:
        (fault,) = error.errors()
        return re.findall(r"'(\w+)'", fault["msg"])
    return []


def _section(field: FieldInfo) -> type[BaseModel] | None:
    for option in (field.annotation, *_arguments(field.annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _arguments(annotation: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return found


def _errors_with(code: int) -> list[str]:
    """The names of the errors that end with this code."""
    known: list[type[MixnetError]] = [MixnetError]
    for error in known:
        known += error.__subclasses__()
    ours = [error for error in known if error.__module__ == MixnetError.__module__]
    return [f"`{error.__name__}`" for error in ours if error.exit_code == code]


def _options(command: Command) -> list[tuple[str, ...]]:
    """A row for each argument and option."""
    hints = get_type_hints(command.work, include_extras=True)
    rows: list[tuple[str, ...]] = []
    for name, parameter in inspect.signature(command.work).parameters.items():
        if hints[name] is typer.Context:
            continue
        (info,) = (item for item in hints[name].__metadata__ if isinstance(item, ParameterInfo))
        # typer keeps an option's first name where its default would be.
        names = [info.default, *(info.param_decls or ())]
        if isinstance(info, OptionInfo):
            said = ", ".join(f"`{text}`" for text in names if isinstance(text, str))
        else:
            said = f"`{info.metavar or name.upper()}`"
        required = parameter.default is inspect.Parameter.empty
        given = None if required or parameter.default in (None, False) else parameter.default
        default = "required" if required else "" if given is None else _value(given)
        rows.append((said, _option_value(info, hints[name]), default, _whole(info.help or "")))
    return rows


def _option_value(info: ParameterInfo, hint: Any) -> str:
    text = str(hint)
    if "bool" in text:
        return "flag"
    words = {"int": "whole number", "float": "number", "Path": "path"}
    kind = next((word for name, word in words.items() if re.search(rf"\b{name}\b", text)), "text")
    low = f", at least {info.min:.10g}" if info.min is not None else ""
    several = ", repeatable" if "list[" in text else ""
    return f"{info.metavar or kind}{low}{several}"


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "all its defaults"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{value}`" if value != "" else "empty"


def _whole(text: str) -> str:
    """One line that begins with a capital and ends with a full stop."""
    line = " ".join(text.split())
    if not line:
        return ""
    line = line[0].upper() + line[1:]
    return line if line.endswith((".", "?", ":")) else f"{line}."


def _paragraphs(text: str) -> list[str]:
    return [_whole(part) for part in text.split("\n\n")]


def _listed(names: Sequence[Any], word: str = "and") -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _page(title: str, parts: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", NOTE, *(part for part in parts if part)]) + "\n"


def main() -> None:
    """Writes every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
