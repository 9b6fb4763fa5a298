"""Online learning from a stream of likes and dislikes.

    python examples/likes_one_by_one.py < swipes.csv

Each line is an event: user, item, and 1 (liked) or 0 (disliked). Users and items may be new.
"""

import sys
from collections.abc import Iterable

from alternant import CosineMF


def main(lines: Iterable[str]) -> CosineMF:
    """Predict each swipe before learning from it, and print the share of correct predictions."""
    model = CosineMF(factors=16, random_state=0)
    n_correct, n_predicted = 0, 0
    user = ""
    for number, line in enumerate(lines):
        user, item, liked = line.rstrip("\n").split(",")
        # Prequential evaluation: each event is tested before the model learns from it, so that nothing leaks.
        if number > 0 and user in model.user_ids_ and item in model.item_ids_:
            n_correct += (model.predict(user, item) > 0.5) == (liked == "1")
            n_predicted += 1
        model.update(user, item, int(liked))
    print(f"{len(model.user_ids_)} users, {len(model.item_ids_)} items; {n_predicted} swipes of known users and items,")
    print(f"of which {n_correct / max(n_predicted, 1):.0%} were predicted correctly")
    ids, cosines = model.recommend(user, 3)  # excludes all items that this user has swiped
    print(f"next for {user}:", *(f"{item} ({cosine:.2f})" for item, cosine in zip(ids, cosines, strict=True)
                                  if item is not None))  # fmt: skip
    return model


if __name__ == "__main__":
    main(sys.stdin)
