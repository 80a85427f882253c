"""From a trained family to `model.onnx`: statistics and classifier in one graph, checked against scikit-learn.

skl2onnx writes scikit-learn's classifiers with the domain `ai.onnx.ml`, which ONNX Runtime has built in; what it does
not know is added here. The file is all that a bundle holds of the classifier: nothing is pickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import Pipeline, make_pipeline

from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from ..export import OUTPUT
from ..runtime import activate, open_runtime
from .clusters import ClusterClassifier
from .statistics import ML_OPSET, OPSET, Array, WindowStatistics
from .statistics import OUTPUT as STATISTICS_OUTPUT

LEAST = 1e-6  # of a probability, before its logarithm
TOLERANCE = 1e-4  # of probabilities
UNEQUAL_SHARE = 0.01  # of the windows may differ by more: those with a neighbour or a centre as near as another one


def logits_of(classifier: ClassifierMixin, statistics: Array) -> Array:
    """What the exported graph gives, by scikit-learn.

    Returns:
        float32 `[windows, labels]`: logarithms of the probabilities, so that softmax gives these back; the decision
        function of a support vector machine, which has none.
    """
    if hasattr(classifier, "predict_proba"):
        logits = np.log(np.maximum(classifier.predict_proba(statistics), LEAST))
    else:
        logits = classifier.decision_function(statistics)
        logits = np.stack((-logits, logits), axis=1) if logits.ndim == 1 else logits
    return np.asarray(logits, np.float32)


def to_onnx(statistics: WindowStatistics, classifier: ClassifierMixin) -> bytes:
    """`model.onnx`: windows `[batch, window_frames, dims]` -> logits `[batch, labels]`, see `logits_of`."""
    front = compose.add_prefix(statistics.graph(), "statistics/", rename_inputs=False, rename_outputs=False)
    back = compose.add_prefix(_converted(classifier, statistics.size), "classifier/", rename_inputs=False)
    scores = back.graph.output[1].name  # the first is the label
    nodes = [*front.graph.node, *back.graph.node]
    constants = [*front.graph.initializer, *back.graph.initializer]
    if isinstance(classifier, ClusterClassifier):
        label = back.graph.output[0].name
        constants.append(numpy_helper.from_array(classifier.shares_, "shares"))
        nodes.append(helper.make_node("Gather", ["shares", label], [scores := "probabilities"]))
    if hasattr(classifier, "predict_proba"):
        constants.append(numpy_helper.from_array(np.array(LEAST, np.float32), "least"))
        nodes.append(helper.make_node("Max", [scores, "least"], ["bounded"]))
        nodes.append(helper.make_node("Log", ["bounded"], [OUTPUT]))
    else:
        nodes.append(helper.make_node("Identity", [scores], [OUTPUT]))
    given = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(classifier.classes_)])
    graph = helper.make_graph(nodes, "classical", list(front.graph.input), [given], constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=front.ir_version)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def check_export(
    bundle: Bundle, statistics: WindowStatistics, classifier: ClassifierMixin, windows: Array,
    batches: Sequence[int] = (1, 7, 16),
) -> float:  # fmt: skip
    """Compare the bundle's probabilities with scikit-learn's, at several batch sizes.

    Returns:
        The largest difference, the `UNEQUAL_SHARE` of the windows that differ most left out.

    Raises:
        EarwitnessError: it is above `TOLERANCE`.
    """
    runtime = open_runtime(bundle, "cpu")
    expected = activate(logits_of(classifier, statistics(windows)), bundle.manifest.output)
    worst = 0.0
    for size in batches:
        parts = [runtime.scores(windows[k : k + size]) for k in range(0, len(windows), size)]
        differences = np.sort(np.abs(np.concatenate(parts) - expected).max(axis=1))
        worst = max(worst, float(differences[: max(1, len(windows) - int(UNEQUAL_SHARE * len(windows)))][-1]))
    if not worst <= TOLERANCE:
        raise EarwitnessError(f"the exported {bundle.manifest.name} differs from scikit-learn by {worst:.2g}")
    return worst


def _converted(classifier: ClassifierMixin, size: int) -> onnx.ModelProto:
    """statistics `[batch, size]` -> label, scores."""
    *before, last = [step for _, step in classifier.steps] if isinstance(classifier, Pipeline) else [classifier]
    options: dict[str, Any] = {}
    if isinstance(last, ClusterClassifier):
        last = last.kmeans_
    else:
        last = _as_logistic(last) if isinstance(last, LinearDiscriminantAnalysis) else last
        options = {"zipmap": False} | ({} if hasattr(classifier, "predict_proba") else {"raw_scores": True})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes of scikit-learn that it looks for in vain
        model: onnx.ModelProto = convert_sklearn(
            make_pipeline(*before, last),
            initial_types=[(STATISTICS_OUTPUT, FloatTensorType([None, size]))],
            options={id(last): options} if options else None,
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            custom_shape_calculators={BernoulliRBM: _rbm_shape},
            custom_conversion_functions={BernoulliRBM: _convert_rbm},
        )
    return model


def _as_logistic(lda: LinearDiscriminantAnalysis) -> LogisticRegression:
    """The same lines and probabilities: skl2onnx doubles the margins of a discriminant analysis of two classes."""
    logistic = LogisticRegression()
    logistic.classes_, logistic.coef_, logistic.intercept_ = lda.classes_, lda.coef_, lda.intercept_
    logistic.n_iter_, logistic.n_features_in_ = np.ones(1, np.int32), lda.coef_.shape[1]
    return logistic


def _rbm_shape(operator: Any) -> None:
    hidden = operator.raw_operator.components_.shape[0]
    operator.outputs[0].type = FloatTensorType([None, hidden])


def _convert_rbm(scope: Any, operator: Any, container: Any) -> None:
    """Probabilities of the hidden units: sigmoid(x · W' + b), `BernoulliRBM.transform`."""
    machine = operator.raw_operator
    names = {}
    for name, value in (("weights", machine.components_.T), ("bias", machine.intercept_hidden_)):
        names[name] = scope.get_unique_variable_name(name)
        values: NDArray[np.float32] = np.asarray(value, np.float32)
        container.add_initializer(names[name], TensorProto.FLOAT, list(values.shape), values.ravel().tolist())
    product, total = (scope.get_unique_variable_name(name) for name in ("product", "total"))
    container.add_node("MatMul", [operator.inputs[0].full_name, names["weights"]], product)
    container.add_node("Add", [product, names["bias"]], total)
    container.add_node("Sigmoid", total, operator.outputs[0].full_name)
