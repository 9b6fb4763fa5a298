"""The table and the plot of a comparison."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .runner import Outcome


SMALL, LARGE = 11, 13  # sizes of letters of the picture


@dataclass(frozen=True)
class Measure:
    """A measure of quality: its key, its label in the table, its format, and whether higher is better.

    It is reached within a relative `tolerance`.
    """

    key: str
    label: str
    format: str
    tolerance: float
    higher: bool = False

    def seconds(self, outcome: Outcome, target: float) -> float | None:
        """Return the seconds that a library takes to reach it."""
        return outcome.seconds_to(self.key, target, self.higher, self.tolerance)

    def target(self, outcomes: Sequence[Outcome]) -> float | None:
        """Return what the best peer reaches with its defaults, after its number of iterations."""
        reached = [
            outcome.value(self.key) for outcome in outcomes
            if outcome.error is None and not outcome.entry.ours and outcome.entry.defaults
        ]  # fmt: skip
        reached = [value for value in reached if value is not None]
        return (max if self.higher else min)(reached) if reached else None


def fastest(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome with the fastest iterations."""
    return min((outcome for outcome in outcomes if outcome.rounds), key=lambda outcome: outcome.each, default=None)


def table(outcomes: Sequence[Outcome], measures: Sequence[Measure], unit: str) -> tuple[list[str], list[list[str]]]:
    """Return columns and a row for each library, including those that did not run."""
    targets = {measure: measure.target(outcomes) for measure in measures}
    ours = next((outcome for outcome in outcomes if outcome.entry.ours and outcome.rounds), None)
    counts = sorted({min(o.entry.iterations, max(o.quality)) for o in outcomes if o.quality})
    after = f" after {counts[0]}" if len(counts) == 1 else " after its default"
    columns = ["library", "version", f"seconds an {unit}", "times the first row's"]
    for measure, target in targets.items():
        columns.append(measure.label + after)
        columns.append(f"seconds to {target:{measure.format}}" if target is not None else "seconds to it")
    columns += ["MB beside the data", ""]
    return columns, [_row(outcome, ours, targets) for outcome in outcomes]


def _row(outcome: Outcome, ours: Outcome | None, targets: dict[Measure, float | None]) -> list[str]:
    row = [outcome.entry.name, outcome.version or ""]
    if outcome.error is not None:
        return [*row, *[""] * (2 * len(targets) + 3), outcome.error]
    row.append(_seconds(outcome.each))
    row.append(f"{outcome.each / ours.each:.2f}" if ours else "")
    for measure, target in targets.items():
        value = outcome.value(measure.key)
        row.append("" if value is None else f"{value:{measure.format}}")
        row.append(_seconds_to(outcome, measure, value, target))
    row.append("" if outcome.megabytes is None else f"{outcome.megabytes:.0f}")
    return [*row, outcome.entry.remark]


def _seconds_to(outcome: Outcome, measure: Measure, value: float | None, target: float | None) -> str:
    if value is None or target is None:
        return ""
    seconds = measure.seconds(outcome, target)
    return f"not within {max(outcome.quality)}" if seconds is None else _seconds(seconds)


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def draw(outcomes: Sequence[Outcome], measure: Measure, unit: str, title: str, path: Path) -> None:
    """Draw the seconds per iteration as bars, and the distance of the quality from the best over the seconds."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    shown = [outcome for outcome in outcomes if outcome.error is None and outcome.rounds]
    colors = {outcome.entry.name: mpl.colormaps["tab20"](i % 20) for i, outcome in enumerate(shown)}
    heights = 1 + 0.36 * len(shown), 5
    figure = Figure(figsize=(7, 1.5 + sum(heights)), layout="constrained")  # one above the other: phones are narrow
    bars, curves = figure.subplots(2, 1, height_ratios=heights)
    figure.suptitle(textwrap.fill(title, 60), fontsize=LARGE)

    names = [outcome.entry.name for outcome in shown]
    drawn = bars.barh(names, [outcome.each for outcome in shown], color=[colors[name] for name in names])
    bars.bar_label(drawn, [_seconds(outcome.each) for outcome in shown], padding=3, fontsize=SMALL)
    bars.set(xlabel=f"seconds an {unit}")  # from 0: lengths are compared
    bars.margins(x=0.15)
    bars.invert_yaxis()

    best = _best(shown, measure)
    for i, outcome in enumerate(shown):
        reached = sorted((n, quality[measure.key]) for n, quality in outcome.quality.items() if measure.key in quality)
        points = [(outcome.seconds(n), abs(value - best)) for n, value in reached if value != best]
        if points:
            curves.plot(*zip(*points, strict=True), color=colors[outcome.entry.name], marker="os^Dv<>P*XpH"[i % 12],
                        markersize=4, linewidth=1.3, label=outcome.entry.name)  # fmt: skip
    curves.set(xscale="log", yscale="log", xlabel="seconds since the fit began (log scale)",
               ylabel=f"{measure.label}: distance to the best of all (log scale)")  # fmt: skip
    curves.grid(alpha=0.3)
    for panel in (bars, curves):
        panel.tick_params(labelsize=SMALL)
        for label in (panel.xaxis.label, panel.yaxis.label):
            label.set_size(LARGE)
    if curves.lines:
        figure.legend(
            *curves.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False
        )
    figure.savefig(path, dpi=150)


def _best(outcomes: Sequence[Outcome], measure: Measure) -> float:
    values = [reached[measure.key] for outcome in outcomes for reached in outcome.quality.values()
              if measure.key in reached]  # fmt: skip
    return (max if measure.higher else min)(values, default=0.0)
