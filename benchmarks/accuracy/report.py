"""The tables and the plot of `accuracy`, and published figures of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Row = dict[str, Any]


class Published(NamedTuple):
    """A line of a paper or leaderboard."""

    model: str
    recall: float
    ndcg: float
    source: str


BARS = "BARS leaderboard"  # docs/Matching/leaderboard of github.com/reczoo/BARS, *_m1.csv
SECONDARY = "as quoted by later papers"
PUBLISHED = {
    "gowalla": (
        Published("MF-BPR", 0.1627, 0.1378, BARS),
        Published("ItemCF", 0.1570, 0.1214, BARS),
        Published("SLIM", 0.1699, 0.1382, BARS),
        Published("EASE", 0.1765, 0.1467, BARS),
        Published("ENMF", 0.1523, 0.1315, BARS),
        Published("LightGCN", 0.1820, 0.1547, f"{BARS}, rerun"),
        Published("MF-CCL", 0.1837, 0.1493, BARS),
        Published("GF-CF", 0.1849, 0.1518, BARS),
        Published("UltraGCN", 0.1862, 0.1580, BARS),
        Published("SimpleX", 0.1872, 0.1557, BARS),
        Published("BSPM-EM", 0.1920, 0.1597, SECONDARY),
        Published("NESCL", 0.1917, 0.1617, SECONDARY),
    ),
    "yelp2018": (
        Published("MF-BPR", 0.0576, 0.0468, BARS),
        Published("ItemCF", 0.0639, 0.0531, BARS),
        Published("SLIM", 0.0646, 0.0541, BARS),
        Published("EASE", 0.0657, 0.0552, BARS),
        Published("ENMF", 0.0624, 0.0515, BARS),
        Published("LightGCN", 0.0653, 0.0532, f"{BARS}, rerun"),
        Published("MF-CCL", 0.0698, 0.0572, BARS),
        Published("GF-CF", 0.0697, 0.0571, BARS),
        Published("UltraGCN", 0.0683, 0.0561, BARS),
        Published("SimpleX", 0.0701, 0.0575, BARS),
        Published("BSPM-EM", 0.0720, 0.0593, SECONDARY),
    ),
}
DRAWN = ("MF-BPR", "EASE", "LightGCN", "MF-CCL", "UltraGCN", "SimpleX", "BSPM-EM")  # a line for each would be too many


SMALL, LARGE = 11, 13  # sizes of letters of the picture


COLUMNS = ("model", "factors", "Recall@20", "NDCG@20", "seconds", "chosen, or source")


def table(rows: Sequence[Row], published: Sequence[Published]) -> list[tuple[str, ...]]:
    """Return the rows of a table: published figures, sorted by NDCG@20, then our measurements."""
    made = [
        (one.model, "", f"{one.recall:.4f}", f"{one.ndcg:.4f}", "", one.source)
        for one in sorted(published, key=lambda one: one.ndcg)
    ]
    for row in rows:
        factors = str(row.get("factors", ""))
        if "skipped" in row:
            made.append((row["model"], factors, "", "", "", f"skipped: {row['skipped']}"))
            continue
        note = ", ".join(f"{name}={value}" for name, value in row.get("params", {}).items())
        cells = f"{row['recall']:.4f}", f"{row['ndcg']:.4f}", f"{row['seconds']:.1f}"
        made.append((row["model"], factors, *cells, note))
    return made


def draw(data: Mapping[str, Sequence[Row]], published: Mapping[str, Sequence[Published]], path: Path) -> None:
    """Draw NDCG@20 over the seconds of the fit, one panel per data set; published figures are lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(6.5, 4.2 * len(data)), layout="constrained")  # one above the other: phones are narrow
    panels = figure.subplots(len(data), 1, squeeze=False)[:, 0]
    for panel, (name, rows) in zip(panels, data.items(), strict=True):
        fitted = [row for row in rows if "factors" in row and "skipped" not in row]
        curves = {
            model: [(row["seconds"], row["ndcg"], row["factors"]) for row in fitted if row["model"] == model]
            for model in dict.fromkeys(row["model"] for row in fitted)
        }
        counts = sorted({row["factors"] for row in fitted})
        for model, points in curves.items():
            points.sort(key=lambda point: point[2])
            seconds, ndcg, _ = zip(*points, strict=True)
            (drawn,) = panel.plot(seconds, ndcg, "o-" if model.startswith("alternant") else "s--", label=model)
            for x, y, f in points if len(points) < len(counts) else ():  # of others, the axis tells
                panel.annotate(f"f={f}", (x, y), textcoords="offset points", xytext=(6, 0), fontsize=SMALL, va="center",
                               color=drawn.get_color())  # fmt: skip
        lines = sorted((one.ndcg, one.model) for one in published.get(name, ()) if one.model in DRAWN)
        low, high = panel.get_ylim()
        low, high = min(low, lines[0][0]) if lines else low, max(high, lines[-1][0]) if lines else high
        panel.set_ylim(low - 0.04 * (high - low), high + 0.08 * (high - low))
        above = float("-inf")
        for value, model in lines:
            panel.axhline(value, color="0.7", linewidth=0.8, zorder=0)
            above = max(value, above + 0.062 * (high - low))  # names keep apart, also where their lines do not
            place = {"transform": panel.get_yaxis_transform(), "ha": "left", "va": "bottom"}
            panel.text(0.01, above, model, fontsize=SMALL, color="0.35", **place)
        panel.margins(x=0.4)
        panel.set(xscale="log")
        panel.set_title(name, fontsize=LARGE)
        panel.set_ylabel("NDCG@20", fontsize=LARGE)
        listed = ", ".join(map(str, counts))
        panel.set_xlabel(f"seconds of the fit; points, from left: {listed} factors", fontsize=LARGE)
        panel.tick_params(labelsize=SMALL)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=LARGE)
    figure.savefig(path, dpi=150)
