"""Files that PyTorch wrote, beside what PyTorch says is in them; see data/make_pytorch_files.py."""

from __future__ import annotations

import io
import json
import lzma
import pickle
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mixnet_core.checkpoints.file_format import read_format
from mixnet_core.checkpoints.store import load_weights
from mixnet_core.checkpoints.values import read_values
from mixnet_core.errors import InputError, IntegrityError
from mixnet_core.model.mixnet import build_model
from mixnet_core.model.weight_names import timm_name

DATA = Path(__file__).parent / "data"
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_text())
ODD = ["odd.pth", "odd-stream.pth"]


def same(found: np.ndarray, expected: list[Any]) -> bool:  # type: ignore[type-arg]
    shape, values = expected
    return list(found.shape) == shape and found.astype(np.float32).ravel().tolist() == values


@pytest.mark.parametrize("name", ODD)
def test_tensors_are_those_of_pytorch_however_they_are_stored(name: str) -> None:
    file = read_format(DATA / name)
    assert file.format == "pytorch"
    expected = {key: row for key, row in EXPECTED.items() if " " not in key}
    assert {key: list(shape) for key, shape in file.shapes.items()} == {
        key: row[0] for key, row in expected.items()
    }
    values = read_values(file)
    assert list(values) == list(expected)
    for key, row in expected.items():
        assert same(values[key], row), key
    floating = {"half", "bfloat16", "double", "plain", "scalar"}
    assert {values[key].dtype for key in floating} == {np.dtype(np.float32)}
    assert (values["long"].dtype, values["bool"].dtype) == (np.int64, np.bool_)


@pytest.mark.parametrize("name", ODD)
def test_only_what_is_asked_for_is_read(name: str) -> None:
    assert set(read_values(read_format(DATA / name), ["sliced", "half"])) == {"sliced", "half"}


def test_a_trainings_file_has_weights_averages_and_what_is_left_out() -> None:
    file = read_format(DATA / "training.pth.tar")
    values = read_values(file)
    for key, row in EXPECTED.items():
        kind, _, name = key.removeprefix("training ").partition(" ")
        if key.startswith("training "):
            assert same(values[f"ema.{name}" if kind.endswith("ema") else name], row), key
    # Momenta of two weights and biases, of a BatchNorm's scale and shift.
    assert file.left_out == {"the optimizer": 6}


def test_the_averaging_models_counter_is_left_out() -> None:
    file = read_format(DATA / "averaged.pth")
    assert set(file.shapes) == {
        "0.weight",
        "0.bias",
        "ema.module.0.weight",
        "ema.module.0.bias",
    }
    assert file.left_out == {"counters": 1}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("whole-module.pth", r"holds 'torch\.nn\.modules\.container\.Sequential', which only run"),
        ("script.pt", r"a program of PyTorch \(TorchScript\)"),
        ("one-tensor.pt", "holds one tensor, expected a state-dict: save it as torch"),
    ],
)
def test_what_holds_more_or_less_than_a_state_dict_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read_format(DATA / name)
    assert "\n" not in str(raised.value)


@pytest.fixture(params=["mixnet_s.pth.xz", "mixnet_s-stream.pth.xz"])
def of_timm(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A whole MixNet-S of timm's in both forms."""
    path = tmp_path / "mixnet_s.pth"
    path.write_bytes(lzma.decompress((DATA / request.param).read_bytes()))
    return path


@pytest.mark.usefixtures("eager")
def test_each_tensor_of_timms_network_lands_in_the_parameter_of_its_name(of_timm: Path) -> None:
    net = build_model("s", flavour="timm")
    parts = load_weights(net, of_timm)
    for parameter in net.get_parameters():
        name = timm_name(parameter.name, "s")
        constant = (zlib.crc32(name.encode()) % 4096) / 256 + 1
        assert (parameter.asnumpy() == constant).all(), name
    # One for each BatchNorm.
    assert parts.left_out == {"counters": 49}


def repacked(target: Path, change: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    """Writes odd.pth anew with some of its files changed; b"" leaves one out."""
    with zipfile.ZipFile(DATA / "odd.pth") as source, zipfile.ZipFile(target, "w", kind) as out:
        for name in source.namelist():
            content = change.get(name.partition("/")[2], source.read(name))
            if content:
                out.writestr(name, content)
    return target


def stated(**more: bytes) -> dict[str, bytes]:
    return {name.replace("__", "/"): content for name, content in more.items()}


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (stated(byteorder=b"big"), zipfile.ZIP_STORED, "big-endian"),
        (stated(data__0=b"1234"), zipfile.ZIP_STORED, "'plain' in it has 4 bytes of values, its"),
        (stated(data__0=b""), zipfile.ZIP_STORED, "the values of 'plain' are not in it"),
        ({}, zipfile.ZIP_DEFLATED, "is compressed"),
    ],
)
def test_an_archive_that_torch_would_not_write_is_refused(
    change: dict[str, bytes], kind: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match=said) as raised:
        read_format(repacked(tmp_path / "w.pth", change, kind))
    assert "\n" not in str(raised.value)


def test_values_that_were_changed_are_found_by_the_archives_checksum(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    content = bytearray((DATA / "odd.pth").read_bytes())
    content[content.index(np.float32([1.5, 1.625]).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged or cut short"):
        read_values(read_format(path))


class Named:
    """Is pickled as the name of something that is not here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Call:
    """Is pickled as a call."""

    def __init__(self, what: Named, *arguments: Any) -> None:
        self.what, self.arguments = what, arguments


class Stored:
    """Is pickled as a reference to a storage of float32."""

    def __init__(self, key: Any, count: Any) -> None:
        self.identity = ("storage", Named("torch", "FloatStorage"), key, "cpu", count)


class Writer(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes what torch.save's pickles hold, and what they never do."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def persistent_id(self, value: Any) -> Any:
        return value.identity if isinstance(value, Stored) else None

    def save_named(self, value: Named) -> None:
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())

    def save_call(self, value: Call) -> None:
        self.save(value.what)
        self.save(value.arguments)
        self.write(pickle.REDUCE)

    dispatch[Named], dispatch[Call] = save_named, save_call


REBUILD = Named("torch._utils", "_rebuild_tensor_v2")


def archive(path: Path, state: Any, storages: dict[str, bytes]) -> Path:
    """Writes a file as torch.save would, of such a state-dict."""
    out = io.BytesIO()
    Writer(out, 2).dump(state)
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("a/data.pkl", out.getvalue())
        for key, content in storages.items():
            target.writestr(f"a/data/{key}", content)
    return path


def tensor(shape: Any, strides: Any, *, offset: Any = 0, count: Any = 6) -> Call:
    return Call(REBUILD, Stored("0", count), offset, shape, strides, False, {})


def test_the_writer_above_writes_what_is_read(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    path = archive(tmp_path / "w.pth", {"w": tensor((2, 3), (3, 1))}, {"0": values.tobytes()})
    assert read_values(read_format(path))["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (tensor((2, 3), (3, 1), offset=1), "'w' in it has 24 bytes of values, its shape"),
        (tensor((7,), (1,)), "needs 28"),
        (tensor((2, 3), (3, 1), count=5), "has 20 bytes"),
        (tensor((2, 2), (2**40, 1)), "needs"),
        # A gigabyte out of 24 bytes.
        (tensor((2**14, 2**14), (0, 0)), "values for less of it"),
        (tensor((-2, 3), (3, 1)), "odd numbers"),
        (tensor((2, 3), (-3, 1)), "odd numbers"),
        (tensor((2, 3), (1,)), "odd numbers"),
        (tensor([2, 3], (3, 1)), "odd numbers"),
        (tensor((True, 3), (3, 1)), "odd numbers"),
        (tensor((2.0, 3), (3, 1)), "odd numbers"),
        (tensor((1,) * 40, (1,) * 40), "odd numbers"),
        (tensor((2, 3), (3, 1), offset=-1), "odd numbers"),
        (tensor((2, 3), (3, 1), count="6"), "odd numbers"),
        (Call(REBUILD, Stored("0", 6), 0, (2,), (1,), False, {}, {"neg": True}), "be negated"),
        (Call(REBUILD, Stored(["0"], 6), 0, (2,), (1,), False, {}), "no tensor's values"),
        (Call(REBUILD, "values", 0, (2,), (1,), False, {}), "of an unknown type"),
        (Call(REBUILD, Stored("0", 6)), "damaged or cut short"),
        (Call(Call(REBUILD, Stored("0", 6), 0, (), ()), 1), "calls what is not to be called"),
    ],
)
def test_a_tensor_of_odd_numbers_is_refused_before_memory_is_taken(
    odd: Call, said: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "w.pth", {"w": odd}, {"0": bytes(24)})
    with pytest.raises(IntegrityError, match=said) as raised:
        read_format(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "holds no state-dict.* it has nothing"),
        ({"epoch": 1, "optimizer": {}}, "holds no state-dict.* it has epoch, optimizer"),
        ([1, 2], "holds a list, expected a state-dict"),
        ({"s3://user:pass@host/x": 1}, "holds no state-dict"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_has(
    state: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read_format(archive(tmp_path / "w.pth", state, {}))
    assert "pass" not in str(raised.value)


@pytest.mark.parametrize("key", ["state_dict", "model", "net", "params", "model_state_dict"])
def test_the_dict_of_weights_has_many_names(key: str, tmp_path: Path) -> None:
    one = {"w": tensor((6,), (1,))}
    state = {key: one, "ema": {"w": tensor((3,), (1,))}, "extra": [tensor((2,), (1,))]}
    file = read_format(archive(tmp_path / "w.pth", state, {"0": bytes(24)}))
    assert file.shapes == {"w": (6,), "ema.w": (3,)}
    assert file.left_out == {"other tensors": 1}


def test_averages_alone_are_the_weights(tmp_path: Path) -> None:
    state = {"state_dict_ema": {"w": tensor((6,), (1,))}}
    file = read_format(archive(tmp_path / "w.pth", state, {"0": bytes(24)}))
    assert file.shapes == {"w": (6,)}


def test_what_is_left_out_may_hold_itself(tmp_path: Path) -> None:
    circle: dict[str, Any] = {"t": tensor((6,), (1,))}
    circle["again"] = [circle, circle]
    state = {"state_dict": {"w": tensor((6,), (1,))}, "optimizer": circle}
    file = read_format(archive(tmp_path / "w.pth", state, {"0": bytes(24)}))
    assert file.left_out == {"the optimizer": 1}


def test_a_single_tensor_beside_the_weights_hides_them_not(tmp_path: Path) -> None:
    # PyTorch's own ImageNet example keeps the best top-1 so.
    state = {"best_acc1": tensor((), ()), "state_dict": {"w": tensor((6,), (1,))}}
    file = read_format(archive(tmp_path / "w.pth", state, {"0": bytes(24)}))
    assert file.shapes == {"w": (6,)}
    assert file.left_out == {"other tensors": 1}


def test_a_storage_that_is_stated_in_two_sizes_is_read_in_both(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    state = {"first": tensor((1,), (1,), count=1), "w": tensor((6,), (1,))}
    path = archive(tmp_path / "w.pth", state, {"0": values.tobytes()})
    found = read_values(read_format(path))
    assert (found["first"].tolist(), found["w"].tolist()) == ([0], list(range(6)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.pth", {"w": tensor((6,), (1,))}, {"0": bytes(24)})
    with zipfile.ZipFile(path, "a") as target:
        target.writestr("a/data/0", b"\1" * 24)
    with pytest.raises(IntegrityError, match="two files of one name"):
        read_format(path)


def test_a_key_of_many_digits_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="too many digits"):
        read_format(archive(tmp_path / "w.pth", {10**5000: 1}, {}))


def outcome(path: Path) -> str:
    """What is said of why a file is not read; "" if its values are."""
    try:
        read_values(read_format(path))
    except (InputError, IntegrityError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ODD)
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    whole = (DATA / name).read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(whole), 31):
        path.write_bytes(whole[:length])
        said = outcome(path)
        assert said
        assert "\n" not in said


@pytest.mark.parametrize("name", ODD)
def test_bytes_flipped_anywhere_end_in_no_other_error(name: str, tmp_path: Path) -> None:
    whole = (DATA / name).read_bytes()
    path = tmp_path / "flipped.pth"
    for place in range(0, len(whole), 17):
        content = bytearray(whole)
        content[place] ^= 0xFF
        path.write_bytes(content)
        assert "\n" not in outcome(path)


def test_the_content_counts_not_the_suffix(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "w.ckpt", "w.safetensors", "w.pth.tar", "none"):
        path = Path(shutil.copy(DATA / "odd.pth", tmp_path / name))
        assert read_format(path).format == "pytorch"
