from typing import Any

from numpy.typing import NDArray

def append(
    samples: NDArray[Any],
    rows: NDArray[Any],
    begin: NDArray[Any],
    fill: NDArray[Any],
    joined: NDArray[Any],
    lengths: NDArray[Any],
    /,
) -> None: ...
def gather(samples: NDArray[Any], starts: NDArray[Any], out: NDArray[Any], /) -> None: ...
def spectra(
    samples: NDArray[Any],
    starts: NDArray[Any],
    first: int,
    hop: int,
    count: int,
    window: NDArray[Any],
    roots: NDArray[Any],
    half_roots: NDArray[Any],
    out: NDArray[Any],
    firsts: NDArray[Any] = ...,
    lengths: NDArray[Any] = ...,
    weights: NDArray[Any] = ...,
    /,
) -> None: ...
def weigh(
    rows: NDArray[Any], firsts: NDArray[Any], lengths: NDArray[Any], weights: NDArray[Any], out: NDArray[Any], /
) -> None: ...
