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
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    figure = Figure(figsize=(7 * len(data), 5.5), layout="constrained")
    panels = figure.subplots(1, len(data), squeeze=False)[0]
    for panel, (name, rows) in zip(panels, data.items(), strict=True):
        fitted = [row for row in rows if "factors" in row and "skipped" not in row]
        for model in dict.fromkeys(row["model"] for row in fitted):
            of_model = [row for row in fitted if row["model"] == model]
            seconds, ndcg = [row["seconds"] for row in of_model], [row["ndcg"] for row in of_model]
            panel.plot(seconds, ndcg, "o-" if model.startswith("alternant") else "s--", label=model, linewidth=1)
            for row in of_model:
                place = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 8}
                panel.annotate(f"f = {row['factors']}", (row["seconds"], row["ndcg"]), **place)
        for one in published.get(name, ()):
            if one.model in DRAWN:
                panel.axhline(one.ndcg, color="0.7", linewidth=0.8, zorder=0)
                place = {"transform": panel.get_yaxis_transform(), "ha": "left", "va": "bottom"}
                panel.text(0.005, one.ndcg, one.model, fontsize=7, color="0.4", **place)
        panel.margins(x=0.15)
        panel.set(xscale="log", xlabel="seconds of the fit", ylabel="NDCG@20", title=name)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=150)
