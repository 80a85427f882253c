"""k-means as a classifier: clusters are found without labels, then each gets the shares of the labels found in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans

SMOOTHING = 0.5  # windows of every label that each cluster is taken to have beside those it has


class ClusterClassifier(ClassifierMixin, BaseEstimator):
    """`KMeans`, and a map from cluster to probabilities of the labels.

    Args:
        clusters: how many; no more than there are training windows are made.
        seed: of the first centres.

    Attributes:
        kmeans_: the clusters.
        shares_: float32 `[clusters, labels]`, rows that sum to 1.
        classes_: the labels, ascending.
    """

    def __init__(self, clusters: int = 100, seed: int = 0) -> None:
        self.clusters, self.seed = clusters, seed

    def fit(self, X: NDArray[np.float32], y: NDArray[np.int64]) -> ClusterClassifier:
        """Finds clusters in `X` `[windows, values]` without looking at `y` `[windows]`, then counts `y` in each."""
        self.classes_, columns = np.unique(y, return_inverse=True)
        self.kmeans_ = KMeans(min(self.clusters, len(X)), n_init=2, random_state=self.seed).fit(X)
        counts = np.full((self.kmeans_.n_clusters, len(self.classes_)), SMOOTHING)
        np.add.at(counts, (self.kmeans_.labels_, columns), 1)
        self.shares_ = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """The shares of the labels in the cluster nearest to each row."""
        return np.asarray(self.shares_[self.kmeans_.predict(X)])

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        """The label that is the most frequent in that cluster."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
