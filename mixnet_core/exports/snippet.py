"""The lines that classify a picture with an exported ONNX file, and nothing of this project.

They are printed by `mixnet export`, stand in its README and on a release's card. They read from the
file itself how images are to be read.

`transform` takes each pixel from its neighbours alone, as OpenCV's resize does, which training and
evaluation use; Pillow's `resize` would blur first. The two differ by a few grey levels, in bicubic
a few more, so a picture between two classes may fall to the other one.
"""

from __future__ import annotations

NEEDS = "pip install onnxruntime pillow"

_LINES = """\
import json, sys
import numpy as np, onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
mean, std = (np.array(json.loads(about[key]), np.float32) for key in ("mean", "std"))
side, short = int(about["image_size"]), int(about["short_side"])
image = Image.open(sys.argv[1])
if image.mode.startswith("I;16"):
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
image = image.convert("RGB")
(width, height), least = image.size, min(image.size)
size = (width * short // least, height * short // least)
resampling = Image.Resampling[about["interpolation"].upper()]
image = image.transform(size, Image.Transform.EXTENT, (0, 0, width, height), resampling)
left, top = (size[0] - side) // 2, (size[1] - side) // 2
image = image.crop((left, top, left + side, top + side))
pixels = np.asarray(image.convert("L" if len(mean) == 1 else "RGB")).reshape(side, side, -1)
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
