"""What a release's card says of its exports."""

from __future__ import annotations

from mixnet_core.exports.card_part import card_part
from mixnet_core.runs.export_values import ExportedFile, ExportProof

NAMES = {"onnx": "onnx-0123456789ab.onnx", "weights": "weights-ba9876543210.ckpt"}
PROVEN = ExportProof(
    format="onnx",
    state="proven",
    files={"onnx": ExportedFile(name="model.onnx", sha256="0" * 64, bytes=5)},
    runtime="onnxruntime 1.32.0, CPU, float32",
    images=451,
    compared_with="digits-demo",
    differing=2,
    near_ties=2,
    largest_difference=7e-5,
    images_per_second=243.2,
)
REFUSED = ExportProof(format="mindir", state="refused", reason="it predicts otherwise")


def test_each_figure_is_the_proof_s_and_files_have_the_names_of_the_release() -> None:
    said = card_part([PROVEN, REFUSED], NAMES)
    (row,) = [line for line in said.splitlines() if "onnxruntime 1.32.0" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        "`onnx-0123456789ab.onnx`",
        "onnxruntime 1.32.0, CPU, float32",
        "451",
        "2",
        "7e-05",
        "243",
    ]
    assert "mindir" not in said


def test_the_program_opens_the_file_that_is_published() -> None:
    (program,) = card_part([PROVEN], NAMES).split("```python\n")[1:]
    program = program.partition("\n```")[0]
    assert 'InferenceSession("onnx-0123456789ab.onnx"' in program
    compile(program, "classify.py", "exec")


def test_nothing_is_said_where_nothing_was_proven() -> None:
    assert card_part([REFUSED], {}) == card_part([], {}) == ""


def test_files_that_tools_look_for_by_name_are_said_with_that_name() -> None:
    roles = {"timm": "timm-0123.safetensors", "timm_config": "timm_config-4567.json"}
    files = {role: ExportedFile(name=role, sha256="0" * 64, bytes=5) for role in roles}
    said = card_part([PROVEN.model_copy(update={"format": "timm", "files": files})], roles)
    assert (
        "The tools of timm look for `timm-0123.safetensors` as `timm/model.safetensors` and "
        "`timm_config-4567.json` as `timm/config.json`: copy them."
    ) in said
    assert "look for" not in card_part([PROVEN], NAMES)
