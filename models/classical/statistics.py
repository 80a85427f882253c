"""Statistics of a window's frames, standardised: what the classical families see of a window. An ONNX graph.

The graph is part of what is exported, and training runs the same graph in ONNX Runtime: a decision tree whose threshold
lies between two neighbouring values decides live as it did in training, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.fft import dct

from ...stream.errors import EarwitnessError, nearest

Array = NDArray[np.float32]

STATISTICS = {
    "mean": "arithmetic mean over the frames",
    "std": "standard deviation",
    "min": "smallest value",
    "max": "largest value",
    "median": "the middle value",
    "p10": "10th percentile",
    "p25": "25th percentile",
    "p75": "75th percentile",
    "p90": "90th percentile",
    "skewness": "third standardised moment: above 0 where few values lie far above the others",
    "delta_mean": "mean absolute difference of neighbouring frames",
    "delta_std": "standard deviation of that difference, signs kept",
}
"""One line on each; every one gives a value for each dimension of the frames."""

OPSET = 18
ML_OPSET = 3  # of the domain ai.onnx.ml
IR_VERSION = 8
INPUT, OUTPUT = "windows", "statistics"
PERCENTILES = {"median": 50.0, "p10": 10.0, "p25": 25.0, "p75": 75.0, "p90": 90.0}
LEAST_VARIANCE = 1e-6  # under the skewness: what rounding leaves of a constant is no shape
BATCH = 64  # windows at once in `WindowStatistics`
ALIGNED = 16  # values in 64 bytes


class WindowStatistics:
    """Windows to standardised statistics.

    Shape: float32 `[windows, window_frames, dims]` -> float32 `[windows, len(names) * (dims + cepstra)]`: the
    first statistic of each value, then the next one.

    With `cepstra`, each frame's values are joined by so many coefficients of the discrete cosine transform of its
    `bands` (type II, orthonormal: of log-mel these are `librosa.feature.mfcc`), and the statistics are of all of them.

    Args:
        names: of STATISTICS.
        window_frames, dims: of a window; two frames at least.
        cepstra: 0..number of bands; more are as many as there are bands.
        bands: columns of a frame.

    Raises:
        EarwitnessError: no statistics, one named twice, or an unknown one, with the nearest name.
    """

    def __init__(
        self, names: Sequence[str], window_frames: int, dims: int, cepstra: int = 0, bands: slice = slice(None)
    ) -> None:
        for name in names:
            if name not in STATISTICS:
                raise EarwitnessError(f"no statistic {name!r}: {nearest(name, STATISTICS)}")
        if not names or len(set(names)) != len(names):
            raise EarwitnessError("statistics must be one or several, each once")
        if window_frames < 2:
            raise EarwitnessError(f"statistics of {window_frames} frame: window_frames must be 2 or more")
        self.names, self.window_frames, self.dims = tuple(names), window_frames, dims
        chosen = np.arange(dims)[bands]
        cepstra = min(cepstra, len(chosen))
        self._cosines = np.zeros((cepstra, dims), np.float32)
        self._cosines[:, chosen] = dct(np.eye(len(chosen)), norm="ortho", axis=0)[:cepstra]
        self._mean = np.zeros(self.size, np.float32)
        self._scale = np.ones(self.size, np.float32)

    @property
    def size(self) -> int:
        """Values per window."""
        return len(self.names) * (self.dims + len(self._cosines))

    def fit(self, windows: Array) -> Array:
        """Choose mean and scale so that these windows' statistics have mean 0 and standard deviation 1; return them."""
        self._mean, self._scale = np.zeros(self.size, np.float32), np.ones(self.size, np.float32)
        raw = self(windows)
        mean, spread = raw.mean(axis=0, dtype=np.float64), raw.std(axis=0, dtype=np.float64)
        # What is the same in every window tells nothing: it stays at 0 whatever comes.
        changes = spread > 1e-4 * (1 + np.abs(mean))
        self._mean = mean.astype(np.float32)
        self._scale = np.where(changes, 1 / np.where(changes, spread, 1), 0).astype(np.float32)
        return (raw - self._mean) * self._scale  # single precision, as in the graph: the same bits

    def __call__(self, windows: Array) -> Array:
        """The statistics of windows, as the exported graph computes them."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            self.graph().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        parts = [
            session.run([OUTPUT], {INPUT: np.ascontiguousarray(windows[first : first + BATCH], np.float32)})[0]
            for first in range(0, len(windows), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.size), np.float32)

    def graph(self) -> onnx.ModelProto:
        """The graph, `windows` -> `statistics`."""
        builder = _Builder(self.window_frames, self._cosines)
        values = [builder.statistic(name) for name in self.names]
        joined = builder.add("Concat", values, axis=1)
        centred = builder.add("Sub", [joined, builder.constant(self._mean)])
        builder.add("Mul", [centred, builder.constant(self._scale)], output=OUTPUT)
        graph = helper.make_graph(
            builder.nodes,
            "statistics",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", self.window_frames, self.dims])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", self.size])],
            builder.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class _Builder:
    """Nodes of the graph; what several statistics need is made once.

    Frames become the last axis, zeros behind them, so that each row begins at a multiple of `ALIGNED` values: only then
    does ONNX Runtime add a row up in one and the same order, whatever stands before it in the batch. (A sum's last bit
    decides on which side of a tree's threshold it falls.)
    """

    def __init__(self, frames: int, cosines: Array) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._made: dict[str, str] = {}
        self._frames = frames
        self._time = self.constant(np.array([2], np.int64))  # the axis
        self._values = self.add("Transpose", [INPUT], perm=[0, 2, 1])
        if len(cosines):
            cepstra = self.add("MatMul", [self.constant(cosines), self._values])
            self._values = self.add("Concat", [self._values, cepstra], axis=1)

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """One node; returns the name of its (first) output."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        outputs = [name, f"{name}_places"] if kind == "TopK" else [name]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return name

    def constant(self, value: NDArray[np.generic] | np.generic) -> str:
        """One constant; returns its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def statistic(self, name: str) -> str:
        """`[batch, dims]` of one statistic."""
        match name:
            case "mean":
                return self._once("mean", lambda: self._squeezed(self._mean(self._values)))
            case "std":
                return self.add("Sqrt", [self._variance(self._values)])
            case "min" | "max":
                return self.add(f"Reduce{name.capitalize()}", [self._values, self._time], keepdims=0)
            case "skewness":
                return self._skewness()
            case "delta_mean":
                return self._squeezed(self._mean(self.add("Abs", [self._differences()]), self._frames - 1))
            case "delta_std":
                return self.add("Sqrt", [self._variance(self._differences(), self._frames - 1)])
            case _:
                return self._percentile(PERCENTILES[name])

    def _once(self, key: str, make: Callable[[], str]) -> str:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _mean(self, values: str, count: int = 0) -> str:
        """`[batch, dims, 1]` of `[batch, dims, count]`, all frames where no count is told."""
        count = count or self._frames
        total = self.add("ReduceSum", [self._padded(values, count), self._time], keepdims=1)
        return self.add("Mul", [total, self.constant(np.float32(1 / count))])

    def _padded(self, values: str, count: int) -> str:
        missing = -count % ALIGNED
        if not missing:
            return values
        pads = self._once(f"pads {missing}", lambda: self.constant(np.array([0] * 5 + [missing], np.int64)))
        return self._once(f"padded {values}", lambda: self.add("Pad", [values, pads]))

    def _squeezed(self, values: str) -> str:
        return self.add("Squeeze", [values, self._time])

    def _centred(self, values: str, count: int = 0) -> str:
        return self._once(f"centred {values}", lambda: self.add("Sub", [values, self._mean(values, count)]))

    def _variance(self, values: str, count: int = 0) -> str:
        def make() -> str:
            centred = self._centred(values, count)
            return self._squeezed(self._mean(self.add("Mul", [centred, centred]), count))

        return self._once(f"variance {values}", make)

    def _skewness(self) -> str:
        centred = self._centred(self._values)
        cube = self._mean(self.add("Mul", [self.add("Mul", [centred, centred]), centred]))
        variance = self.add("Add", [self._variance(self._values), self.constant(np.float32(LEAST_VARIANCE))])
        spread = self.add("Mul", [variance, self.add("Sqrt", [variance])])
        return self.add("Div", [self._squeezed(cube), spread])

    def _differences(self) -> str:
        def make() -> str:
            places = [self.constant(np.array([place], np.int64)) for place in (0, 1, self._frames - 1, self._frames)]
            first, second, last, end = places
            later = self.add("Slice", [self._values, second, end, self._time])
            return self.add("Sub", [later, self.add("Slice", [self._values, first, last, self._time])])

        return self._once("differences", make)

    def _percentile(self, percent: float) -> str:
        """As `numpy.percentile` interpolates: linearly between the two values beside the place."""
        count = self._once("count", lambda: self.constant(np.array([self._frames], np.int64)))
        ordered = self._once("sorted", lambda: self.add("TopK", [self._values, count], axis=2, largest=0, sorted=1))
        place = percent / 100 * (self._frames - 1)
        below, share = int(place), np.float32(place - int(place))
        low = self.add("Gather", [ordered, self.constant(np.int64(below))], axis=2)
        if share == 0:
            return low
        high = self.add("Gather", [ordered, self.constant(np.int64(below + 1))], axis=2)
        rise = self.add("Mul", [self.add("Sub", [high, low]), self.constant(share)])
        return self.add("Add", [low, rise])
