"""Whatever way a secret in a URI comes in, it is in no message, no log, no output and no file."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote
from uuid import uuid4

import pytest
import urllib3
import yaml
from prefect.logging import disable_run_logger

from mixnet_core.cli import app as cli
from mixnet_core.cli.deployments import write_deployments
from mixnet_core.data.account import Tally
from mixnet_core.data.imagenet.inputs import Archives
from mixnet_core.data.imagenet.unpack import unpack_imagenet
from mixnet_core.data.named_pictures import listed_paths, named_pictures
from mixnet_core.data.prepared_copy import expect_copyable
from mixnet_core.data.stored import canonical, mirror_of
from mixnet_core.errors import InputError, MixnetError
from mixnet_core.host.ports import hccl_ports
from mixnet_core.processes.held_devices import HeldDevices, devices_held, devices_here
from mixnet_core.recipe.recipe import load_recipe, parse_recipe, read_recipe, stored_recipe
from mixnet_core.release.catalog import USER_CATALOG, CatalogEntry, find_release, load_catalog
from mixnet_core.release.importing import import_weights
from mixnet_core.release.initial import find_initial
from mixnet_core.release.manifest import parse_manifest
from mixnet_core.release.publish import publish_release
from mixnet_core.release.registry import list_releases, read_release
from mixnet_core.release.start import find_start
from mixnet_core.release.weights import fetch_weights
from mixnet_core.revalidation.all_releases import items, revalidate_all
from mixnet_core.revalidation.history import read_history
from mixnet_core.revalidation.weights_file import evaluate_file
from mixnet_core.runs.records import existing_run, open_run
from mixnet_core.runs.run_dir import Workspace
from mixnet_core.stages.accept import accept
from mixnet_core.stages.check import check_all, check_publish, check_run_store
from mixnet_core.stages.context import Context
from mixnet_core.stages.named_weights import find_released
from mixnet_core.stages.options import (
    REGISTRY_VARIABLE,
    adjusted_recipe,
    open_workspace,
    parse_settings,
    registry_uri,
)
from mixnet_core.stages.which_host import hosts_told, which_host
from mixnet_core.storage import transfer
from mixnet_core.storage.mirror.room import most_bytes
from mixnet_core.storage.open import open_object, open_storage
from mixnet_core.storage.schemes import s3 as storage_s3
from mixnet_core.storage.transfer import check_served, check_url
from mixnet_core.storage.user_cache import cache_folder
from mixnet_flows import alarm as flows_alarm
from mixnet_flows import demo as flows_demo
from mixnet_flows import imagenet as flows_imagenet
from mixnet_flows import mixnet as flows_mixnet
from mixnet_flows import node as flows_node
from mixnet_flows import revalidate as flows_revalidate
from tests.tiny import mixnet
from tests.web_server import Server

# Letters of all kinds, as a secret's are; no part of it is a word of a message.
MARK = "wJalrXUtnFEMI7K8MDENGbPxRfiCYq"
KEY = "AKIAIOSFODNN7EXAMPLE"
CASES = 60
Way = Callable[[str], Any]


def pasted(draw: random.Random) -> str:
    """A URI with MARK in its secret part, in one of the forms that people paste."""
    pieces = ["", "/", "+", "=", "/+", ":", "%2F", "//", "_", "?", "#", "@", " "]
    key = draw.choice([KEY, "user", "a.b", "k-1", "minio", ""])
    host = draw.choice(["bucket", "bucket/releases", "host:9000/b/x.ckpt", "my.bucket/a/b/"])
    network = ["s3://", "S3://", "s3:/", "s3:", "s3:///", "s3a://", "https://", "HTTP://", "gs://"]
    scheme = draw.choice(network)
    form = draw.randrange(8)
    if form == 0:
        text = f"{draw.choice(['s3://', 'S3://', 's3:/', ''])}{KEY}{draw.choice(':/')}{MARK}"
    elif form == 1:
        name = draw.choice(
            ["X-Amz-Signature", "token", "AWSAccessKeyId", "sig", "X-Goog-Signature", "secret_key",
             "password", "x", "Policy"]
        )  # fmt: skip
        place = draw.choice(["https://host/x.ckpt", "http://127.0.0.1:9/x", "s3://bucket/x"])
        text = f"{place}?a=1&{name}={MARK}"
    elif form == 2:
        text = f"{key or 'user'}:{MARK}{draw.choice(['', '/', '+='])}@{host}"
    elif form == 3:
        root = draw.choice(["/home/me/", "./", "~/", "file:///home/me/", "sub/"])
        text = f"{root}{draw.choice(['s3:/', 'https:/', 's3://'])}{key or 'user'}:{MARK}@{host}"
    elif form == 4:
        text = f"{draw.choice(['file://', '//'])}{key or 'user'}:{MARK}@{host}"
    else:
        secret = f"{draw.choice(pieces)}{MARK}{draw.choice(pieces)}"
        text = f"{scheme}{key}:{secret}@{host}"
        for _ in range(draw.choice([0, 0, 0, 1, 2])):
            head, rest = scheme, text[len(scheme) :]
            text = head + quote(rest, safe="/")
    if draw.random() < 0.15:
        text = draw.choice([" {}", "{}\n", '"{}"', "<{}>", "{} ", "\ufeff{}", "'{}'"]).format(text)
    return text


def whole_text(error: BaseException | None) -> str:
    """Everything that a log with a traceback would print of it."""
    texts = []
    while error is not None:
        texts.append(f"{error} {error!r}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


def outcome(way: Way, text: str) -> tuple[Any, MixnetError | None]:
    try:
        return way(text), None
    except MixnetError as error:
        return None, error


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """What was logged, with tracebacks, and printed since the last call."""
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)

    def collected() -> str:
        printed, text = capsys.readouterr(), logged.getvalue()
        logged.seek(0)
        logged.truncate()
        return printed.out + printed.err + text

    yield collected
    logging.getLogger().removeHandler(handler)


@pytest.fixture(autouse=True)
def nothing_goes_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Network errors as urllib3 has them: with the whole URL."""

    def fail(client: object, method: str, url: str, *rest: object) -> NoReturn:
        pool = urllib3.HTTPConnectionPool("host")
        raise urllib3.exceptions.MaxRetryError(pool, url, OSError(f"no route for {url}"))

    monkeypatch.setattr(transfer, "_request", fail)
    monkeypatch.chdir(tmp_path)


def expect_nothing_written(root: Path) -> None:
    for path in root.rglob("*"):
        assert MARK not in str(path)
        assert not path.is_file() or MARK.encode() not in path.read_bytes()


def ways(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> dict[str, Way]:
    """Every way in for a URI, a name or a path, within one process."""
    releases = str(workspace.releases)
    cache = workspace.root / "weights"
    nothing: Any = None
    digits = load_recipe("digits")
    finetune = load_recipe("finetune", {"data.path": "."}).model_dump(mode="json")

    def recipe_with(section: str, key: str, text: Any) -> Any:
        return parse_recipe({**finetune, section: {**finetune[section], key: text}}, "mine.yaml")

    def within(content: str, read: Way) -> Any:
        """Reads a file of the user's, whose content is not ours to judge."""
        path = workspace.root / "mine.yaml"
        path.write_text(content)
        try:
            return read(str(path))
        finally:
            path.unlink()

    def catalog(**changes: Any) -> Way:
        def way(text: str) -> Any:
            entry: dict[str, Any] = {
                "name": "mine", "url": "https://host/w.ckpt", "sha256": "0" * 64, "variant": "s",
                "flavour": "mindcv", "num_classes": 10, "source": "me",
            }  # fmt: skip
            for key, value in changes.items():
                entry[text if key == "unknown" else key] = value or text
            return within(yaml.safe_dump({"releases": [entry]}), with_variable(USER_CATALOG))

        return way

    def with_variable(name: str, call: Callable[[], Any] = load_catalog) -> Way:
        def way(text: str) -> Any:
            with monkeypatch.context() as patch:
                patch.setenv(name, text)
                return call()

        return way

    def by_flow(flow: Any, **arguments: Any) -> Way:
        (name,) = [key for key, value in arguments.items() if value == "TEXT"]
        return lambda text: flow.fn(**{**arguments, name: text})

    def nested(key: str) -> Way:
        return lambda text: flows_mixnet.mixnet.fn(settings={key: [{"a": text}]})

    def changed(recipe: Any, text: str) -> Any:
        """A copy with changes, which pydantic does not check."""
        weights = recipe.weights.model_copy(update={"name": text})
        return recipe.model_copy(update={"weights": weights})

    def mindcv(key: str) -> Way:
        return lambda text: within(yaml.safe_dump({"model": "mixnet_s", key: text}), read_recipe)

    def alarm(notify: str | None, text: str) -> None:
        with disable_run_logger():
            flows_alarm.alarm.fn("r", "regressed", f"r lies at {text}", text, notify and text)

    no_dev = workspace.root / "dev"

    def held() -> HeldDevices:
        """Takes the device 0, whatever the machine has."""
        no_dev.mkdir(exist_ok=True)
        (no_dev / "davinci0").touch()
        with devices_held("Ascend", 1, "a job", lambda line: None, dev=no_dev) as devices:
            return devices

    two_hosts = load_recipe("digits", {"devices.hosts": 2}).devices
    found: dict[str, Way] = {
        "open_storage": open_storage,
        "open_object": open_object,
        "registry": lambda text: registry_uri(workspace, text),
        "find_release": lambda text: find_release(text, releases),
        "find_release below": lambda text: find_release("mine", text),
        "find_start": lambda text: find_start(text, releases),
        "fetch_weights": lambda text: fetch_weights(
            text, cache=cache, registry=releases, attempts=1
        ),
        "import_weights": import_weights,
        "import_weights as": lambda text: import_weights("w.pth", name=text),
        "import_weights by": lambda text: import_weights("w.pth", recipe=text),
        "fetch_weights below": lambda text: fetch_weights(
            "mine", cache=cache, registry=text, attempts=1
        ),
        "publish_release": lambda text: publish_release("r", registry=text, files={}, facts={}),
        "publish_release by name": lambda text: publish_release(
            text, registry=releases, files={}, facts={}
        ),
        "read_release": read_release,
        "list_releases": list_releases,
        "parse_manifest": lambda text: parse_manifest(b"{}", text),
        "parse_manifest with keys": lambda text: parse_manifest(
            yaml.safe_dump({text: 1}, default_flow_style=True).encode(), "r"
        ),
        "read_history": read_history,
        "items": lambda text: items(text, []),
        "revalidate_all": lambda text: revalidate_all(
            text, workspace=workspace, each=lambda result: None
        ),
        "check_url": check_url,
        "check_served": check_served,
        "transfer": lambda text: transfer.transfer(text, workspace.root / "t", attempts=1),
        "check_publish": check_publish,
        "check_all": lambda text: [
            item for item in check_all(digits, workspace=workspace, registry=text) if not item.ok
        ],
        "--weights": lambda text: adjusted_recipe("digits", weights=text, registry=releases),
        "--data": lambda text: adjusted_recipe("finetune", data=text),
        "--to": lambda text: expect_copyable("mindrecord", text),
        "data in a store": mirror_of,
        "a place of data": canonical,
        "--set": lambda text: parse_settings([text]),
        "--set of weights": lambda text: load_recipe("digits", {"weights.name": text}),
        "--set of a key": lambda text: load_recipe("digits", {text: 1}),
        "weights": lambda text: recipe_with("weights", "name", text),
        "replaces": lambda text: recipe_with("acceptance", "replaces", text),
        "data.path": lambda text: recipe_with("data", "path", text),
        "val_labels": lambda text: recipe_with("data", "val_labels", text),
        "run_store": lambda text: recipe_with("devices", "run_store", text),
        "check_run_store": check_run_store,
        "another type": lambda text: recipe_with("weights", "name", [text]),
        "a choice": lambda text: recipe_with("data", "source", text),
        "no section": lambda text: parse_recipe({**finetune, "weights": text}, "mine.yaml"),
        "unknown key": lambda text: parse_recipe({**finetune, text: 1}, "mine.yaml"),
        "unknown key below": lambda text: recipe_with("weights", text, 1),
        "recipe's name": lambda text: parse_recipe({**finetune, "name": text}, "mine.yaml"),
        "description": lambda text: parse_recipe(
            {**finetune, "description": f"from {text} as it was"}, "mine.yaml"
        ),
        "where": lambda text: parse_recipe({**finetune, "name": 1}, text),
        "recipe": load_recipe,
        "stored recipe": lambda text: stored_recipe(Path(text)),
        "a broken file": lambda text: within(f"weights:\n  name: {text}\n bad: [\n", read_recipe),
        "a broken line": lambda text: within(f"a: '{'x' * 20}{text}' : [", read_recipe),
        "a tag": lambda text: within(f"a: !<{text}> 1", read_recipe),
        "an alias": lambda text: within(f"a: *{text}", read_recipe),
        "no mapping": lambda text: within(f"- {text}", read_recipe),
        "MindCV's ckpt_path": mindcv("ckpt_path"),
        "MindCV's dataset_download": mindcv("dataset_download"),
        "MindCV's data_dir": lambda text: load_recipe("digits", {}) and within(
            yaml.safe_dump({"model": "mixnet_s", "num_classes": 3, "data_dir": text}), load_recipe
        ),
        "MindCV's ckpt_save_dir": mindcv("ckpt_save_dir"),
        "MindCV's opt": mindcv("opt"),
        "MindCV's unknown key": lambda text: within(
            yaml.safe_dump({"model": "mixnet_s", text: text}), read_recipe
        ),
        "a catalog's url": catalog(url=""),
        "a catalog's name": catalog(name=""),
        "a catalog's note": catalog(note=""),
        "a catalog's recipe": catalog(recipe=""),
        "a catalog's variant": catalog(variant=""),
        "a catalog's unknown key": catalog(unknown=1),
        "a broken catalog": lambda text: within(
            f"releases: {text} : [", with_variable(USER_CATALOG)
        ),
        "MIXNET_CATALOG": with_variable(USER_CATALOG),
        "MIXNET_HOME": with_variable("MIXNET_HOME", lambda: open_workspace(None)),
        "MIXNET_REGISTRY": with_variable(
            REGISTRY_VARIABLE, lambda: registry_uri(open_workspace(None), None)
        ),
        "MIXNET_CACHE": with_variable("MIXNET_CACHE", lambda: cache_folder("x")),
        "MIXNET_MIRRORS": with_variable("MIXNET_MIRRORS", lambda: most_bytes(workspace.root)),
        "MIXNET_DEVICES": with_variable("MIXNET_DEVICES", lambda: devices_here("Ascend", no_dev)),
        "MIXNET_DEVICE_LOCKS": with_variable("MIXNET_DEVICE_LOCKS", held),
        "ASCEND_RT_VISIBLE_DEVICES": with_variable("ASCEND_RT_VISIBLE_DEVICES", held),
        "HCCL_IF_BASE_PORT": with_variable(
            "HCCL_IF_BASE_PORT", lambda: hccl_ports(dict(os.environ))
        ),
        "--master": lambda text: which_host(two_hosts, node_rank=0, master=text, environment={}),
        "MIXNET_MASTER": lambda text: which_host(
            two_hosts, node_rank=0, environment={"MIXNET_MASTER": text}
        ),
        "MIXNET_NODE_RANK": lambda text: which_host(
            two_hosts, environment={"MIXNET_NODE_RANK": text}
        ),
        "MIXNET_HOSTS": lambda text: hosts_told(None, {"MIXNET_HOSTS": text}),
        "SLURM_JOB_NODELIST": lambda text: which_host(
            two_hosts, node_rank=0, environment={"SLURM_JOB_NODELIST": text, "PATH": ""}
        ),
        "https_proxy": with_variable("https_proxy", lambda: check_served("https://host/x")),
        "an endpoint": with_variable(
            "AWS_ENDPOINT_URL_S3", lambda: open_storage("s3://bucket/x")
        ),
        "a reason to accept": lambda text: accept(
            Context(digits, workspace.run("r"), workspace, releases), nothing, nothing,
            override=f"they lie at {text}",
        ),
        "workspace": open_workspace,
        "run": lambda text: open_run(digits, workspace, text),
        "a changed recipe": lambda text: open_run(changed(digits, text), workspace, "changed"),
        "existing run": lambda text: existing_run(workspace, text),
        "evaluate": lambda text: evaluate_file(Path(text), workspace=workspace, data="."),
        "evaluate's data": lambda text: evaluate_file(Path("w"), workspace=workspace, data=text),
        "evaluate's predictions": lambda text: evaluate_file(
            Path("w"), workspace=workspace, data=".", predictions=Path(text)
        ),
        "evaluate's page": lambda text: evaluate_file(
            Path("w"), workspace=workspace, data=".", page=Path(text)
        ),
        "archives": lambda text: unpack_imagenet(Archives(train_tar=Path(text)), workspace.root),
        "deployments": lambda text: write_deployments(Path(text)),
        "flow's alarm": lambda text: alarm(None, text),
        "flow's notify": lambda text: alarm("notify", text),
        "flow's settings": nested("weights.name"),
        "flow's other settings": nested("description"),
        "flow's retired": lambda text: flows_revalidate.revalidate.fn(retired=[text]),
    }  # fmt: skip
    for name in ("recipe", "data", "run", "workspace", "publish_to", "release", "weights",
                 "accept_anyway"):  # fmt: skip
        found[f"flow's {name}"] = by_flow(flows_mixnet.mixnet, **{name: "TEXT"})
    for name in ("releases", "data", "imagenet", "workspace"):
        found[f"revalidating flow's {name}"] = by_flow(
            flows_revalidate.revalidate, **{name: "TEXT"}
        )
    for name in ("train_tar", "val_tar", "devkit", "val_labels", "to", "md5sums", "workspace"):
        found[f"unpacking flow's {name}"] = by_flow(flows_imagenet.imagenet, **{name: "TEXT"})
    for name in ("run", "workspace", "host"):
        others = {"run": "r", "workspace": "w", "host": "h", "leader": uuid4(), "node_rank": 1}
        found[f"node flow's {name}"] = by_flow(flows_node.node, **(others | {name: "TEXT"}))
    found["find_initial"] = lambda text: find_initial(text, releases)
    found |= {
        "find_released": lambda text: find_released(text, workspace=workspace, registry=releases),
        "find_released below": lambda text: find_released(
            "mine", workspace=workspace, registry=text
        ),
        "find_released's recipe": lambda text: find_released(
            "mine", workspace=workspace, registry=releases, recipe=text
        ),
        "find_released's classes": lambda text: find_released(
            "mine", workspace=workspace, registry=releases, classes=Path(text)
        ),
        "a list of pictures": lambda text: list(
            named_pictures(["-"], Tally(Path()), listed_paths(io.BytesIO(text.encode()), null=True))
        ),
    }
    return found


# They take a signed URL, for a server may send one there; nothing of it is kept.
TAKES_SIGNED = {"check_url", "check_served", "transfer"}
# A value whose text is nobody's but the environment's, or that is hidden where it is shown.
TAKES_ANY = {"https_proxy", "an endpoint", "flow's alarm"}
# Files whose fault comes before what they hold is looked at; MindCV's way of naming other things.
READS = {"--set"}
BY_PATH = {
    "evaluate", "evaluate's predictions", "evaluate's page", "stored recipe", "archives",
    "deployments",
}  # fmt: skip
SLOW = {"check_all", "an endpoint"}
# What is told of a picture that is not there, in a line of its own among others.
TOLD = {"a list of pictures"}


def test_no_way_in_prints_or_writes_a_secret(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    rows: list[object] = []
    monkeypatch.setattr(flows_alarm, "show_table", lambda *given: rows.append(given))
    draw = random.Random(7)
    workspace = Workspace(tmp_path)
    for name, way in ways(workspace, monkeypatch).items():
        for _ in range(CASES // 10 if name in SLOW else CASES):
            text = pasted(draw)
            if name in BY_PATH:
                # What stands around a URI, pathlib takes for a folder's name.
                text = text.strip(" \n\ufeff\"'<>")
            answer, error = outcome(way, text)
            assert MARK not in whole_text(error), (name, text)
            assert "\n" not in str(error), (name, text)
            if error is None:
                # What is for people; other values go back to who gave them.
                is_shown = name.startswith("check_") or name in TOLD
                assert MARK not in (str(answer) if is_shown else ""), (name, text)
                kept = TAKES_ANY | READS | TOLD | (TAKES_SIGNED if "?" in text else set())
                assert name in kept or name.startswith(("check_", "MindCV's")), (name, text)
    assert MARK not in said() + str(rows)
    expect_nothing_written(tmp_path)


@pytest.mark.parametrize(
    "endpoint", [f"http://user:{MARK}", f"http://[{MARK}", f"http://user:{MARK}/x@host", MARK]
)
def test_an_endpoint_that_is_no_url_is_not_said(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    with pytest.raises(MixnetError) as error:
        open_storage("s3://bucket/x").names()
    assert MARK not in whole_text(error.value)


def test_revalidation_keeps_no_query_of_a_catalogs_url() -> None:
    url = f"https://host/w.ckpt?download={MARK[:8]}"
    entry = CatalogEntry(
        name="mine", url=url, sha256="0" * 8, variant="s", flavour="mindcv", num_classes=10,
        recipe="digits", source="me",
    )  # fmt: skip
    assert entry.shown_uri == "https://host/w.ckpt"


@pytest.mark.parametrize("user", [f"user:{MARK}", f"{MARK}", f"user:{MARK}/x", f"u:/{MARK}@{MARK}"])
def test_an_endpoints_user_is_not_said_when_it_does_not_answer(
    user: str, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", MARK)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{user}@127.0.0.1:1")
    monkeypatch.setattr(storage_s3, "MAX_ATTEMPTS", 1)
    with pytest.raises(MixnetError) as error:
        open_storage("s3://bucket/x").names()
    assert MARK not in whole_text(error.value) + said()


def test_urllib3s_warnings_do_not_quote_where_a_server_redirected_to(
    server: Server, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    signed = f"{server.url}?X-Amz-Signature={MARK}"
    # A header without a colon ends them; what follows is not parsed.
    broken = {"A": f"b\r\nno header\r\nX-Url: {signed}"}
    server.answers = [(302, {"Location": signed}), (200, broken)]
    with contextlib.suppress(MixnetError):
        transfer.transfer(server.url, tmp_path / "w", attempts=1)
    assert server.asked[-1].endswith(MARK)
    text = said()
    assert "Failed to parse headers" in text
    assert MARK not in text


@pytest.mark.parametrize(
    "location", [f"https://u:{MARK}@host/x", f"https://[u:{MARK}@host", f"ftp://h/x?sig={MARK}"]
)
def test_a_redirects_secret_is_not_quoted(
    server: Server, tmp_path: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    server.answers = [(302, {"Location": location})]
    with pytest.raises(InputError) as error:
        transfer.transfer(server.url, tmp_path / "w", attempts=1)
    assert MARK not in whole_text(error.value)


OPTIONS = (
    ("run", "digits", "--weights"), ("run", "digits", "--publish-to"), ("run", "digits", "--run"),
    ("run", "digits", "--workspace"), ("run", "digits", "--name"), ("run", "digits", "--epochs"),
    ("run", "digits", "--accept-anyway"), ("run", "digits", "--set"), ("run", "--recipe"),
    ("run",), ("check", "finetune", "--data"), ("evaluate",), ("evaluate", "w.ckpt", "--data"),
    ("evaluate", "w.ckpt", "--data=.", "--report"), ("revalidate", "--publish-to"),
    ("revalidate", "--imagenet"), ("revalidate", "--retired"), ("releases",),
    ("releases", "--json"), ("recipe", "show"), ("prepare", "imagenet", "--train-tar"),
    ("deployments",), ("recipe",), (), ("import",), ("import", "w.pth", "--name"),
    ("import", "w.pth", "--recipe"), ("import", "w.pth", "--sha256"),
    ("export",), ("export", "x", "--to=onnx", "--out"),
    ("runs", "--html"), ("runs", "--json", "--html"), ("metrics", "--out"), ("metrics",),
    ("runs", "export", "x", "--mlflow", "--tracking-uri"), ("runs", "export"),
    ("export", "x", "--out=x", "--to"), ("export", "x", "--to=onnx", "--out=x", "--data"),
)  # fmt: skip


@pytest.mark.parametrize("main", [cli.main, flows_demo.main])
def test_no_command_line_prints_or_writes_a_secret(
    main: Callable[[], int | None],
    tmp_path: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(11)
    for options in OPTIONS * 8:
        text = pasted(draw)
        joined = bool(options) and options[-1].startswith("--") and draw.random() < 0.5
        given = [*options[:-1], f"{options[-1]}={text}"] if joined else [*options, text]
        monkeypatch.setattr(sys, "argv", ["mixnet", *given])
        try:
            code = main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 1
        text = said()
        assert code == 2, given
        assert MARK not in text, given
        assert "must not hold credentials" in text, given
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "digits", f"--weights=s3://AKIA:{MARK}@bucket"),
        ("run", "digits", "--set", f"weights.name=s3://AKIA:{MARK}@bucket"),
        ("run", "digits", "--accept-anyway", f"it was s3://AKIA:{MARK}@bucket before"),
        ("run", f"s3://AKIA:{MARK}@bucket"),
        ("releases", "--publish-to", f"AKIA:{MARK}@bucket", "--json"),
        ("evaluate", f"s3://AKIA:{MARK}@bucket/w.ckpt", "--data=."),
    ],
)
def test_the_command_refuses_a_secret_in_one_line(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = mixnet(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert MARK not in done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert "must not hold credentials" in line
    assert list(tmp_path.iterdir()) == []
