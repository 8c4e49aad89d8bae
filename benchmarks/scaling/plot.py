"""docs/images/scaling.png: efficiency by the number of cards, for each link between hosts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scaling import figures
from benchmarks.scaling.page import COUNTS, LINKS, linked, steps
from benchmarks.scaling.step import efficiency


def draw(path: Path) -> None:
    """Writes the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    work = figures.work()
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name in LINKS:
        found = steps(linked(name))
        axes.plot(COUNTS, [100 * efficiency(step, work) for step in found], marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS])
    axes.set_ylim(0, 102)
    axes.set_xlabel("cards, eight a host, 128 images each")
    axes.set_ylabel("efficiency, %")
    axes.set_title("MixNet-S over hosts: predicted, not measured")
    axes.grid(alpha=0.3)
    axes.legend(title="link between hosts", fontsize="small")
    # Without the version of what drew it: the same figures are the same file.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
