"""The classical families by name: scikit-learn's classifiers over the statistics of a window, and their options.

Importing this loads no scikit-learn.

What a family does with the statistics of a window, already standardised:

- `svm`, `lda`, `logistic_regression`, `pca`: lines or kernels part the classes.
- `decision_tree`, `random_forest`, `adaboost`, `gradient_boosting`: questions of the kind "is this value above that
  one", one tree or many.
- `knn`, `naive_bayes`, `kmeans`: nearness to what was heard in training.
- `rbm`: features learnt without labels, then logistic regression over them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ...stream.errors import EarwitnessError, nearest
from ..networks.registry import NetworkOptions, checked_options

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

FAMILIES = {
    "svm": "support vector machine with an RBF, linear or polynomial kernel",
    "lda": "linear discriminant analysis with shrinkage",
    "pca": "principal components, then a classifier over them",
    "decision_tree": "one decision tree",
    "random_forest": "many trees, each grown on a part of the windows and asking about a part of the values",
    "adaboost": "small trees one after the other, each minding what the ones before got wrong",
    "gradient_boosting": "trees one after the other, each following the loss downhill",
    "knn": "the labels of the nearest training windows",
    "naive_bayes": "a Gaussian for each value and label",
    "logistic_regression": "a linear classifier with softmax",
    "kmeans": "clusters found without labels, and the labels found in each",
    "rbm": "a Bernoulli restricted Boltzmann machine, then logistic regression over its hidden units",
}
"""One line on each."""

PLAIN_RECIPE: dict[str, Any] = {
    "window_frames": 200,  # statistics want more to count than a network does
    "hop_frames": 50,
    # Few bands: each gives as many values as there are statistics. A high floor: digital silence is no outlier.
    "front_end": {"n_mels": 40, "fmax": 7000.0, "amin": 1e-7},
    "augmentation": {
        "background_share": 0.1, "gain_db": [-20.0, 10.0], "noise": 0.5, "snr_db": [10.0, 40.0], "tilt_db": 3.0,
        "ripple_db": 1.5, "band_limit": 0.0, "speed": 0.6,
    },
}  # fmt: skip
"""Of a recipe that names the family and its data alone: windows of two seconds, milder changes than a network's."""

Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
Depth = Annotated[int, Meta(ge=1, description="questions from the root to a leaf, at most")]
Leaf = Annotated[int, Meta(ge=1, description="training windows in a leaf, at least")]
Inverse = Annotated[float, Meta(gt=0, description="inverse of the strength of regularisation")]


class FamilyOptions(NetworkOptions, frozen=True, kw_only=True):
    """What all families share."""

    statistics: Annotated[
        tuple[str, ...], Meta(description="of each value of the front end over the frames of a window")
    ] = ("mean", "std", "median", "max", "skewness", "delta_mean", "delta_std")
    cepstra: Annotated[
        int, Meta(ge=0, description="cepstral coefficients of log-mel that join its values in each frame; 0 none")
    ] = 20
    windows: Annotated[Count, Meta(description="windows that are drawn to train on")] = 4000


class Svm(FamilyOptions, frozen=True, kw_only=True):
    kernel: Annotated[Literal["rbf", "linear", "poly"], Meta(description="how alike two windows are")] = "rbf"
    C: Annotated[Positive, Meta(description="cost of a training window on the wrong side")] = 10.0
    gamma: Annotated[
        float, Meta(gt=0, description="how fast likeness falls off with the mean squared difference of the values")
    ] = 0.2


class Lda(FamilyOptions, frozen=True, kw_only=True):
    shrinkage: Annotated[
        float, Meta(ge=0, le=1, description="of the covariance towards equal variances; 0: by Ledoit and Wolf")
    ] = 0.0


class Pca(FamilyOptions, frozen=True, kw_only=True):
    components: Annotated[Count, Meta(description="principal components that are kept")] = 60
    whiten: Annotated[bool, Meta(description="whether each gets a variance of 1")] = True
    classifier: Annotated[
        Literal["logistic_regression", "lda", "svm", "knn"], Meta(description="what decides, with its default options")
    ] = "svm"


class DecisionTree(FamilyOptions, frozen=True, kw_only=True):
    max_depth: Depth = 12
    min_samples_leaf: Leaf = 8


class RandomForest(FamilyOptions, frozen=True, kw_only=True):
    trees: Annotated[Count, Meta(description="how many")] = 200
    max_depth: Depth = 16
    min_samples_leaf: Leaf = 2


class AdaBoost(FamilyOptions, frozen=True, kw_only=True):
    trees: Annotated[Count, Meta(description="how many")] = 100
    max_depth: Depth = 4
    learning_rate: Annotated[Positive, Meta(description="weight of each tree")] = 0.5


class GradientBoosting(FamilyOptions, frozen=True, kw_only=True):
    rounds: Annotated[Count, Meta(description="trees for each label")] = 60
    max_depth: Depth = 3
    learning_rate: Annotated[Positive, Meta(description="weight of each tree")] = 0.15
    subsample: Annotated[
        float, Meta(gt=0, le=1, description="share of the training windows that a tree is grown on")
    ] = 0.5


class Knn(FamilyOptions, frozen=True, kw_only=True):
    neighbours: Annotated[Count, Meta(description="training windows that are asked")] = 15
    p: Annotated[
        int, Meta(ge=1, le=2, description="distance: 1 the sum of the differences (Manhattan), 2 Euclid's")
    ] = 2


class NaiveBayes(FamilyOptions, frozen=True, kw_only=True):
    var_smoothing: Annotated[Positive, Meta(description="added to each variance: share of the largest one")] = 0.1


class LogisticRegression(FamilyOptions, frozen=True, kw_only=True):
    C: Inverse = 0.01


class KMeans(FamilyOptions, frozen=True, kw_only=True):
    clusters: Annotated[Count, Meta(description="how many")] = 100


class Rbm(FamilyOptions, frozen=True, kw_only=True):
    hidden: Annotated[Count, Meta(description="hidden units")] = 256
    learning_rate: Annotated[Positive, Meta(description="of the machine")] = 0.01
    rounds: Annotated[Count, Meta(description="times over the windows, of the machine")] = 20
    C: Inverse = 1.0


_OPTIONS: dict[str, type[FamilyOptions]] = {
    "svm": Svm,
    "lda": Lda,
    "pca": Pca,
    "decision_tree": DecisionTree,
    "random_forest": RandomForest,
    "adaboost": AdaBoost,
    "gradient_boosting": GradientBoosting,
    "knn": Knn,
    "naive_bayes": NaiveBayes,
    "logistic_regression": LogisticRegression,
    "kmeans": KMeans,
    "rbm": Rbm,
}


def family_options_of(family: str) -> type[FamilyOptions]:
    """The struct of a family's options.

    Raises:
        EarwitnessError: there is no such family, with the nearest one.
    """
    if family not in FAMILIES:
        raise EarwitnessError(f"no family {family!r}: {nearest(family, FAMILIES)}")
    return _OPTIONS[family]


def read_family_options(family: str, options: Mapping[str, Any]) -> FamilyOptions:
    """Options as a recipe names them, checked; what is left out has its default.

    Raises:
        EarwitnessError: no such family, an unknown option with the nearest one, or a value that cannot be.
    """
    return checked_options(f"family {family}", family_options_of(family), options)


def fit_family(
    options: FamilyOptions, statistics: NDArray[np.float32], labels: NDArray[np.int64], seed: int
) -> ClassifierMixin:
    """A trained classifier of scikit-learn, on one thread, for `[windows, values]` and their labels `[windows]`.

    Raises:
        EarwitnessError: all windows have one label.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if len(np.unique(labels)) < 2:
        raise EarwitnessError("all windows to train on have one label: there is nothing to tell apart")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a line that is nearly there is as good
        classifier: ClassifierMixin = build_family(options, statistics.shape[1], seed).fit(statistics, labels)
    return classifier


def build_family(options: FamilyOptions, values: int, seed: int) -> ClassifierMixin:
    """An untrained classifier of scikit-learn: `fit(statistics, labels)`, then `predict_proba(statistics)`.

    The support vector machine has `decision_function` in its place. The same seed gives the same classifier.

    Args:
        values: statistics per window.
    """
    from sklearn import discriminant_analysis, ensemble, linear_model, naive_bayes, neighbors, svm, tree
    from sklearn.decomposition import PCA
    from sklearn.neural_network import BernoulliRBM
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Binarizer

    from .clusters import ClusterClassifier

    match options:
        case Svm():
            gamma = options.gamma / values
            return svm.SVC(
                C=options.C, kernel=options.kernel, gamma=gamma, coef0=1.0, cache_size=400, random_state=seed
            )
        case Lda():
            return discriminant_analysis.LinearDiscriminantAnalysis(
                solver="lsqr", shrinkage=options.shrinkage or "auto"
            )
        case Pca():
            components = min(options.components, values, options.windows)
            chosen = build_family(_OPTIONS[options.classifier](), components, seed)
            return make_pipeline(PCA(components, whiten=options.whiten, random_state=seed), chosen)
        case DecisionTree():
            return tree.DecisionTreeClassifier(
                max_depth=options.max_depth, min_samples_leaf=options.min_samples_leaf, random_state=seed
            )
        case RandomForest():
            return ensemble.RandomForestClassifier(
                options.trees, max_depth=options.max_depth, min_samples_leaf=options.min_samples_leaf,
                n_jobs=1, random_state=seed,
            )  # fmt: skip
        case AdaBoost():
            stump = tree.DecisionTreeClassifier(max_depth=options.max_depth, max_features="sqrt")
            return ensemble.AdaBoostClassifier(
                stump, n_estimators=options.trees, learning_rate=options.learning_rate, random_state=seed
            )
        case GradientBoosting():
            return ensemble.GradientBoostingClassifier(
                n_estimators=options.rounds, max_depth=options.max_depth, learning_rate=options.learning_rate,
                subsample=options.subsample, max_features="sqrt", random_state=seed,
            )  # fmt: skip
        case Knn():
            return neighbors.KNeighborsClassifier(
                min(options.neighbours, options.windows), p=options.p, algorithm="brute", n_jobs=1
            )
        case NaiveBayes():
            return naive_bayes.GaussianNB(var_smoothing=options.var_smoothing)
        case LogisticRegression():
            return linear_model.LogisticRegression(C=options.C, max_iter=400, random_state=seed)
        case KMeans():
            return ClusterClassifier(options.clusters, seed)
        case Rbm():
            machine = BernoulliRBM(
                options.hidden, learning_rate=options.learning_rate, n_iter=options.rounds, random_state=seed
            )
            top = linear_model.LogisticRegression(C=options.C, max_iter=400, random_state=seed)
            return make_pipeline(Binarizer(), machine, top)  # above the mean, or not: the machine knows 0 and 1
    raise AssertionError(options)
