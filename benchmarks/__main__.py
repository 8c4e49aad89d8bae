"""`make bench`: figures of this machine, side by side.

train       an optimizer step: stock MindSpore operators, native ones          8 min
epoch       a training epoch from JPEGs: mixnet train, a PyTorch script        10 min
infer       forward passes: stock, native, OpenVINO, others where installed    9 min
operators   single layers: native against stock                                5 min
evaluate    the evaluate stage on JPEGs against its engine alone               3 min
input       training's and evaluation's images: MindCV's way, ours               9 min
prepare     ImageNet's archives: tar, mixnet prepare imagenet                  4 min
upload      2 GB to an object store: boto3's upload_file, ours                 4 min
objects     images in an object store against a folder: preparing, input       5 min
ranks       one process and two, two ways of averaging gradients               4 min
virtual     the same bits on one and two processes, and as fast as it goes     6 min
flow        all stages as one command, and through server and worker            10 min
ticks       48 h of ticks in the server's PostgreSQL, the dashboard's queries 15 min

Minutes are those of two cores at the default number of rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_line
from benchmarks.options import Options, Section
from benchmarks.record import RECORD, ROOT, note
from benchmarks.rounds import say
from mixnet_core.errors import MixnetError
from mixnet_core.model.variants import VARIANTS
from mixnet_core.storage.files import write_json

SECTIONS = {
    "train": "training",
    "epoch": "epoch",
    "infer": "inference",
    "operators": "operators",
    "evaluate": "evaluation",
    "input": "input",
    "prepare": "preparation",
    "upload": "upload",
    "objects": "objects",
    "ranks": "ranks",
    "virtual": "virtual",
    "flow": "flow",
    "ticks": "ticks",
}


def main() -> int:
    arguments = _parser().parse_args()
    options = Options(
        variant=arguments.variant,
        rounds=arguments.rounds,
        image_size=arguments.image_size,
        global_batch=arguments.global_batch,
        photos=arguments.photos,
        images=arguments.images,
    )
    machine = machine_line()
    say(machine)
    code = 0
    results: dict[str, Any] = {"machine": machine, "sections": {}}
    for name in arguments.sections or SECTIONS:
        say(f"\n{name}:")
        began = time.monotonic()
        try:
            section: Section = import_module(f"benchmarks.{SECTIONS[name]}").measure(options)
        except MixnetError as error:
            # The figures of the others are worth minutes.
            sys.stderr.write(f"{name}: {error}\n")
            code = error.exit_code
            continue
        minutes = (time.monotonic() - began) / 60
        say(f"\n{section.title} ({minutes:.1f} min)\n\n{section.table}")
        if arguments.record and note(name, section.rows):
            say(f"noted in {RECORD.relative_to(ROOT)}")
        results["sections"][name] = {"title": section.title, "rows": section.rows}
        if arguments.json:
            write_json(arguments.json, results)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Not by `choices`: argparse would apply them to the empty list too.
    parser.add_argument("sections", nargs="*", type=_section, metavar="SECTION", help="all if none")
    parser.add_argument(
        "--rounds", type=_positive, help="default: 5; epoch, operators, ranks, virtual 3"
    )
    parser.add_argument("--variant", choices=VARIANTS, default="s", help="not of operators")
    parser.add_argument("--image-size", type=_positive, help="default: 224; ranks 16; virtual 64")
    parser.add_argument(
        "--global-batch",
        type=_positive,
        help="default: train, epoch, ranks and virtual 32; infer 1, 8 and 32; operators 4; "
        "evaluate 64; input and objects 128",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="evaluate, input, objects: JPEGs to repeat; default: crops of scikit-learn's two "
        "photographs",
    )
    parser.add_argument(
        "--images",
        type=_positive,
        default=2000,
        help="epoch, evaluate, input and objects: how many",
    )
    parser.add_argument(
        "--no-record",
        dest="record",
        action="store_false",
        help="leave docs/bench-record.csv as it is",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every round's figures")
    return parser


def _section(name: str) -> str:
    if name not in SECTIONS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SECTIONS)}")
    return name


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
