"""From a log of views, purchases and dislikes to recommendations of what people will buy.

    python examples/views_and_purchases.py events.csv model.safetensors

events.csv has the columns user, item, kind (view, purchase or dislike) and time (dates, or numbers of seconds), one row
for each event.
"""

import sys

from alternant import Events, ImplicitALS
from alternant.evaluation import evaluate, split_kind
from alternant.tuning import tune

WEIGHTS = {"view": 0.2, "purchase": 1.0, "dislike": -0.5}  # a guess: only the ratios matter


def main(events_file: str, model_file: str, *, budget: float = 20) -> None:
    """Read a log, find out which weights predict purchases, save the model, and serve from its file."""
    events = Events.from_file(events_file, user="user", item="item", kind="kind", time="time")
    print(events.describe())

    # Hold out a fifth of the purchased pairs; their views, which would give them away, are not trained on either.
    train, test = split_kind(events, "purchase", random_state=0)
    model = ImplicitALS(random_state=0)
    alike = evaluate(model.fit(train.interactions()), test, k=10)
    guessed = evaluate(model.fit(train.interactions(WEIGHTS)), test, k=10)
    gain = guessed.difference(alike, "ndcg@10")
    print(f"\nNDCG@10 of held-out purchases: {alike.means['ndcg@10']:.3f} if all events are alike")
    print(f"with weights, it is higher by {gain.value:.3f} (95 %: {gain.low:.3f} to {gain.high:.3f})")

    # Tune the weights, and how fast events lose theirs, together with the model, on a part of train.
    found = tune(model, train, kind="purchase", weights=WEIGHTS, half_life="30d", budget=budget)
    print(f"\n{found}")
    tuned = evaluate(found.best_model, test, k=10)
    print(f"NDCG@10 of held-out purchases: {tuned.means['ndcg@10']:.3f} with {found.best_events}")

    # Fit the model on all events.
    best = ImplicitALS(random_state=0).set_params(**found.best_params)
    best.fit(events.interactions(**found.best_events)).save(model_file)

    # What has been viewed may be recommended, what has been purchased may not.
    served = ImplicitALS.load(model_file)
    user = served.user_ids_[0]
    ids, _ = served.recommend(user, 5, user_items=events.of_kind("purchase"))
    print(f"\nuser {user} might buy:", *ids, sep="\n  ")


if __name__ == "__main__":
    main(*sys.argv[1:])
