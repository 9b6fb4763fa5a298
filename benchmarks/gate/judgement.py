"""Whether a benchmark became slower: the rule of `compare_runs`, on plain numbers.

A benchmark is judged by the time of a unit of work: as many calls as take base at least `Limits.unit` seconds. Thus,
15 % of that time is always more than 5 ms, however short one call is, and 5 ms are never less than the noise of the
machine in a call of microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

DISAGREE = "times disagree"
UNCOMPARED = "base can't run it"
BAD = ("slower", "more instructions", "slower, but times disagree", "failed")
QUIET = ("same", "faster")


@dataclass(frozen=True)
class Limits:
    """A benchmark fails if it is slower by more than both `percent` and `milliseconds` per unit of work."""

    percent: float = 15.0
    milliseconds: float = 5.0
    unit: float = 0.05  # seconds

    def ratio(self, base: float) -> float:
        """Return the ratio to the seconds of base above which head is too slow."""
        return max(1 + self.percent / 100, 1 + self.milliseconds / 1000 / base)


@dataclass
class Row:
    """One benchmark of the table; times are seconds of a unit of work."""

    name: str
    verdict: str
    calls: int = 1
    base: float = math.nan
    head: float = math.nan
    quartiles: tuple[float, float, float] = (math.nan, math.nan, math.nan)  # of the ratios head / base
    instructions: float = math.nan  # the ratio head / base

    def cells(self) -> list[str]:
        """Write the cells of the table."""
        times = ["", "", "", ""]
        if not math.isnan(self.base):
            low, middle, high = self.quartiles
            times = [str(self.calls), f"{self.base * 1e3:.1f}", f"{self.head * 1e3:.1f}",
                     f"{middle:.2f} ({low:.2f} to {high:.2f})"]  # fmt: skip
        counted = "" if math.isnan(self.instructions) else f"{self.instructions:.3f}"
        return [self.name.split("::")[-1].removeprefix("test_"), *times, counted, self.verdict]


def calls_of_a_unit(base: Sequence[float], limits: Limits) -> int:
    """Return the number of calls in a unit of work of base."""
    return max(1, math.ceil(limits.unit / median(base)))


def judge(name: str, base: Sequence[float], head: Sequence[float], limits: Limits, calls: int = 1) -> Row:
    """Compare the seconds of base and head, round by round.

    The ratio is the median over the rounds. If the quartiles lie on both sides of the limit, the verdict is DISAGREE:
    instructions have to decide.
    """
    ratios = [after / before for before, after in zip(base, head, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    limit = limits.ratio(median(base))
    verdict = "slower" if low > limit else "faster" if high < 1 / limit else "same"
    if low <= limit < high:
        verdict = DISAGREE
    return Row(name, verdict, calls, median(base), median(head), (low, middle, high))


def judge_calls(name: str, base: Sequence[float], head: Sequence[float], limits: Limits) -> Row:
    """Compare the seconds of single calls, scaled to a unit of work."""
    calls = calls_of_a_unit(base, limits)
    return judge(name, [calls * seconds for seconds in base], [calls * seconds for seconds in head], limits, calls)


def decide(row: Row, instructions: float | None, limits: Limits) -> None:
    """Settle a row whose times disagree, by the ratio of instructions or, if there is none, by the median."""
    if instructions is not None:
        row.instructions = instructions
        row.verdict = "more instructions" if instructions > 1 + limits.percent / 100 else "noise"
    elif row.quartiles[1] > limits.ratio(row.base):
        row.verdict = "slower, but times disagree"
    else:
        row.verdict = "noise, by the median"


def rows_of(
    base: Mapping[str, Sequence[float]],
    head: Mapping[str, Sequence[float]],
    base_names: set[str],
    head_names: set[str],
    limits: Limits,
) -> list[Row]:
    """Judge all benchmarks, given the seconds per call in each round, and the names in each side's suites.

    A benchmark only in head's suites is new, one only in base's suites is removed, and one in both that base cannot run
    (head's suites run against both) is not compared. None of these fails. One in head's suites that head cannot run has
    failed.
    """
    rows = []
    for name in sorted(head_names | base_names):
        if name not in head_names:
            rows.append(Row(name, "removed"))
        elif len(head.get(name, ())) < max(1, len(base.get(name, ()))):  # in at least one round
            rows.append(Row(name, "failed"))
        elif len(base.get(name, ())) < len(head[name]):
            rows.append(Row(name, UNCOMPARED if name in base_names else "new"))
        else:
            rows.append(judge_calls(name, base[name], head[name], limits))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table."""
    heading = ["benchmark", "calls", "base, ms", "head, ms", "head / base (quartiles)", "instructions", "verdict"]
    lines = [heading, ["---"] * len(heading), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def report(rows: Sequence[Row], limits: Limits, notes: Sequence[str]) -> tuple[str, bool]:
    """Return the whole report in Markdown, and whether no benchmark fails."""
    bad = [row for row in rows if row.verdict in BAD]
    notable = [row for row in rows if row.verdict not in QUIET]
    rule = f"more than {limits.percent:g} % and {limits.milliseconds:g} ms"
    uncompared = sum(row.verdict == UNCOMPARED for row in rows)
    left_out = f"; {uncompared} could not be compared with base" if uncompared else ""
    said = f"**{len(bad)} of {len(rows)} benchmarks are slower by {rule}, or failed{left_out}.**"
    if not bad:
        said = f"None of {len(rows)} benchmarks is slower by {rule}{left_out}."
    parts = ["### Benchmarks", said, *notes]
    if notable:
        parts.append(table(notable))
    parts.append(f"<details><summary>All benchmarks</summary>\n\n{table(rows)}\n\n</details>")
    return "\n\n".join(parts) + "\n", not bad
