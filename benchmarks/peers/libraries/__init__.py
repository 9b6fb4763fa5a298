"""One adapter per library, all with the interface of `Library`."""

from .alternant import Alternant
from .base import Library, Observer, Problem, SGDFit, Steps, installed
from .cmfrec import Cmfrec
from .cornac import Cornac
from .faiss import Faiss
from .implicit import Implicit
from .irspack import Irspack
from .lenskit import LensKit
from .lightfm import LightFM
from .spark import Spark
from .surprise import Surprise

LIBRARIES: tuple[Library, ...] = (
    Alternant(), Implicit(), Cmfrec(), Irspack(), LensKit(), Spark(), LightFM(), Surprise(), Cornac(), Faiss(),
)  # fmt: skip

__all__ = [
    "LIBRARIES", "Alternant", "Cmfrec", "Cornac", "Faiss", "Implicit", "Irspack", "LensKit", "Library", "LightFM",
    "Observer", "Problem", "SGDFit", "Spark", "Steps", "Surprise", "installed",
]  # fmt: skip
