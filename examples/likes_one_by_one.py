"""Likes and dislikes that arrive one by one: a model that knows more after every swipe.

    python examples/likes_one_by_one.py < swipes.csv

Each line is an event: who, what, and 1 (liked) or 0 (disliked). Nobody and nothing has to be known before.
"""

import sys
from collections.abc import Iterable

from alternant import CosineMF


def main(lines: Iterable[str]) -> CosineMF:
    """Predict every swipe before learning from it, and say how that went."""
    model = CosineMF(factors=16, random_state=0)
    agreed, asked = 0, 0
    for line in lines:
        user, item, liked = line.rstrip("\n").split(",")
        # Prequential evaluation: an event is a test before it is a lesson, so that nothing leaks.
        if model.user_ids_ is not None and user in model.user_ids_ and item in model.item_ids_:
            agreed += (model.predict(user, item) > 0.5) == (liked == "1")
            asked += 1
        model.update(user, item, int(liked))
    print(f"{len(model.user_ids_)} users, {len(model.item_ids_)} items; {asked} swipes of known users on known items,")
    print(f"of which {agreed / max(asked, 1):.0%} went as the cosine said")
    ids, cosines = model.recommend(user, 3)  # without what this user has swiped, a moment ago too
    print(f"next for {user}:", *(f"{item} ({cosine:.2f})" for item, cosine in zip(ids, cosines, strict=True)
                                  if item is not None))  # fmt: skip
    return model


if __name__ == "__main__":
    main(sys.stdin)
