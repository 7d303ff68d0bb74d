"""How each cost grows with the log: a small plot for each, from zero, so that flat looks flat."""

from math import ceil
from pathlib import Path


def plot(growth: dict[str, dict[int, float]], picture: Path) -> bool:
    """Write the plot; False where no cost was taken at two sizes."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "font.size": 8})
    from matplotlib import pyplot  # noqa: PLC0415

    costs = {cost: values for cost, values in growth.items() if len(values) > 1}
    if not costs:
        return False
    columns = 3
    lines = ceil(len(costs) / columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(9, 2.2 * lines), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(costs) :]:
        axis.set_visible(False)
    for axis, (cost, values) in zip(axes.flat, costs.items(), strict=False):
        sizes = sorted(values)
        axis.plot(sizes, [values[size] for size in sizes], marker="o", color="#1f6feb")
        axis.set(title=cost, xscale="log", ylim=(0, max(values.values()) * 1.3), xlabel="events in the log")
        axis.margins(x=0.15)
        axis.set_xticks(sizes, [_short(size) for size in sizes])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        for size in sizes:
            axis.annotate(
                f"{values[size]:,.3g}" if values[size] < 1000 else f"{values[size]:,.0f}",
                (size, values[size]),
                textcoords="offset points",
                xytext=(0, 6),
                ha="center",
            )
    figure.savefig(picture, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _short(size: int) -> str:
    for factor, letter in ((1_000_000, "M"), (1_000, "k")):
        if size >= factor:
            return f"{size / factor:g}{letter}"
    return str(size)
