"""The lines that classify a picture with an exported ONNX file, and nothing of this project.

They are printed by `mixnet export`, stand in its README and on a release's card. They read from the
file itself how images are to be read, and resize as OpenCV does, by which training and evaluation
go: Pillow's `resize` would blur first. onnxruntime brings NumPy, and has no kernel that decodes a
picture (ImageDecoder, 1.32): a binary PPM of eight bits (P6, maxval 255) needs none, for all else
there is Pillow.
"""

from __future__ import annotations

NEEDS = "pip install onnxruntime"

_LINES = """\
import json, re, sys
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
mean, std = (np.array(json.loads(about[key]), np.float32) for key in ("mean", "std"))
side, short = int(about["image_size"]), int(about["short_side"])
data = open(sys.argv[1], "rb").read()
ppm = re.match(rb"P6(?:\\s|#.*\\n)+(\\d+)(?:\\s|#.*\\n)+(\\d+)(?:\\s|#.*\\n)+255\\s", data)
if ppm:
    shape = (int(ppm[2]), int(ppm[1]), 3)
    image = np.frombuffer(data, np.uint8, shape[0] * shape[1] * 3, ppm.end()).reshape(shape)
else:
    from PIL import Image  # pip install pillow, for all but binary PPM of 8 bits

    image = Image.open(sys.argv[1])
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = np.asarray(image.convert("RGB"))

def weights(old):  # of an axis' pixels in each of the middle ones, as OpenCV resizes
    new = old * short // min(image.shape[:2])
    at = (np.arange(side) + (new - side) // 2 + 0.5) * old / new - 0.5
    d = abs(at[:, None] - np.arange(-2, old + 2))
    cubic = np.where(d < 1, (1.25 * d - 2.25) * d * d + 1, ((3.75 - 0.75 * d) * d - 6) * d + 3)
    return cubic * (d < 2) if about["interpolation"] == "bicubic" else np.maximum(0, 1 - d)

rows, columns = map(weights, image.shape[:2])
edged = np.pad(image, ((2, 2), (2, 2), (0, 0)), "edge")[rows.any(0)][:, columns.any(0)]
rows, columns = rows[:, rows.any(0)], columns[:, columns.any(0)]
pixels = np.einsum("yh,hwc,xw->yxc", rows, edged, columns, optimize=True).round().clip(0, 255)
pixels = pixels if len(mean) == 3 else pixels @ np.array([[0.299], [0.587], [0.114]])
images = ((pixels - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
(logits,) = session.run(None, {{"images": images}})[0]
shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
classes = json.loads(about.get("classes", "null")) or range(len(shares))
for label in shares.argsort()[::-1][:5]:
    print(f"{{shares[label]:7.2%}}  {{classes[label]}}")
"""


def snippet(file: str = "model.onnx") -> str:
    """Returns the program; its one argument is a picture.

    Args:
        file: path of an ONNX file of normalised images, formats `onnx` and `onnx-int8`.
    """
    return _LINES.format(file=file)
