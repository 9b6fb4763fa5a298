"""From hours of play, tab-separated as in Steam-200k, to recommendations, similar items and a model file.

    python examples/play_hours.py game_play.dat item_info.dat games.safetensors

game_play.dat has the columns User_ID, Game_ID and Hours, possibly with repeated pairs; item_info.dat has Game_ID and
Game Name.
"""

import sys
from pathlib import Path

from alternant import ImplicitALS, Interactions, Popularity
from alternant.evaluation import evaluate, hold_out_users


def main(hours_file: str, names_file: str, model_file: str) -> None:
    """Read hours, evaluate on new users, save the model, and serve from its file."""
    hours = Interactions.from_file(hours_file, user="User_ID", item="Game_ID", value="Hours", aggregate="sum")
    print(hours.describe())

    # Hours span five orders of magnitude: use their logarithm as confidence.
    model = ImplicitALS(weighting="log", alpha=5.0, epsilon=1.0, random_state=0)

    # How well does it work for new users? Hold some out, fold in most of their games, and test on the rest.
    parts = hold_out_users(hours, 0.1, random_state=0)
    for each in (model, Popularity()):
        each.fit(parts.train)
        result = evaluate(each, parts.test, user_items=parts.fold_in, k=10, metrics=("ndcg", "recall"))
        print(f"\n{type(each).__name__}, new users\n{result}")

    model.fit(hours).save(model_file)

    # On a server, the file is all that is needed, ids included.
    lines = Path(names_file).read_text(encoding="utf-8").splitlines()[1:]
    names = {int(line.split("\t")[0]): line.split("\t")[1] for line in lines}
    served = ImplicitALS.load(model_file)
    user = served.user_ids_[0]
    ids, _ = served.recommend(user, 5)
    print(f"\nuser {user} might play:", *(names[game] for game in ids), sep="\n  ")
    why = served.explain(user, ids[0])
    print(f"the first because of {names[why.items[0]]} ({why.contributions[0]:.2f} of {why.score:.2f})")
    alike, cosines = served.similar_items(ids[0], 3)
    print("similar games:", *(f"{names[game]} ({cosine:.2f})" for game, cosine in zip(alike, cosines, strict=True)),
          sep="\n  ")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
