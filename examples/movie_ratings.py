"""From a file of movie ratings in the format of MovieLens to recommendations for all users.

    python examples/movie_ratings.py ratings.csv movies.csv lists.csv

ratings.csv has the columns userId,movieId,rating,timestamp; movies.csv has movieId,title,genres.
"""

import csv
import sys
from pathlib import Path

from alternant import BiasedMF, ImplicitALS, Interactions, Popularity
from alternant.evaluation import evaluate, leave_last_out, random_split


def main(ratings_file: str, movies_file: str, lists_file: str) -> None:
    """Read ratings, evaluate two models, and write the recommendations of the one that ranks better."""
    # Ids are those of the file. A pair rated twice is an error here; "last" would keep the later rating.
    ratings = Interactions.from_file(
        ratings_file, user="userId", item="movieId", value="rating", time="timestamp", aggregate="error"
    )
    print(ratings.describe())

    # How well can ratings be predicted? Hold out a random fifth of them.
    train, test = random_split(ratings, 0.2, random_state=0)
    rated = BiasedMF(random_state=0).fit(train)
    print("\nBiasedMF, errors in stars\n", evaluate(rated, test, metrics=("rmse", "mae")), sep="")

    # What will people watch next? Hold out each user's last movie; any rating, high or low, means that it was watched.
    train, test = leave_last_out(ratings)
    watched = evaluate(ImplicitALS(random_state=0).fit(train), test, k=10)
    popular = evaluate(Popularity().fit(train), test, k=10)
    print("\nImplicitALS, the next movie\n", watched, sep="")
    gain = watched.difference(popular, "ndcg@10")
    print(f"better than popularity by {gain.value:.3f} (95 %: {gain.low:.3f} to {gain.high:.3f}) in NDCG@10")

    # Fit on all ratings, then stream recommendations with titles into a file.
    with Path(movies_file).open(encoding="utf-8", newline="") as file:
        titles = {int(row["movieId"]): row["title"] for row in csv.DictReader(file)}
    model = ImplicitALS(random_state=0).fit(ratings)
    model.recommend_all(10, to=lists_file, titles=titles)
    print(f"\nthe lists of {len(model.user_ids_):,} users are in {lists_file}; the first user's:")
    print(model.recommend_frame(model.user_ids_[:1], 5, titles=titles))


if __name__ == "__main__":
    main(*sys.argv[1:])
