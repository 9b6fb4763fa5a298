"""Which cases of a parametrized test the short suite takes: enough that any two values meet."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations

Case = dict[str, Hashable]


def covering(cases: Sequence[Case], requirements: Callable[[Case], Iterable[Hashable]]) -> list[int]:
    """Return the numbers of a few cases that have all requirements which any case has.

    Greedy: the case with the most that is still missing, the first of several. Every requirement is met, so what is
    left out are combinations of three values and more. The choice depends on nothing but the cases.
    """
    missing = [set(requirements(case)) for case in cases]
    met: set[Hashable] = set()
    heap = [(-len(new), number) for number, new in enumerate(missing)]
    heapq.heapify(heap)
    chosen = []
    while heap:
        count, number = heapq.heappop(heap)
        missing[number] -= met
        if len(missing[number]) < -count:  # others may have more by now
            if missing[number]:
                heapq.heappush(heap, (-len(missing[number]), number))
            continue
        if not missing[number]:
            break
        chosen.append(number)
        met |= missing[number]
    return sorted(chosen)


def pairs(case: Case, pooled: frozenset[Hashable] = frozenset()) -> Iterable[Hashable]:
    """What a case is wanted for: every value, and every two of its values.

    Pooled values of the kernels are one value where they meet others: of the SIMD levels that are not in force, each
    meets each dtype, and each case of a test meets one of them.
    """
    yield from case.items()
    for (name, value), (other, more) in combinations(sorted(case.items()), 2):
        one = "pooled" if value in pooled and other != "dtype" and name == "kernels" else value
        two = "pooled" if more in pooled and name != "dtype" and other == "kernels" else more
        yield (name, one), (other, two)
