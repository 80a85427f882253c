from typing import Any

from numpy.typing import NDArray

def weight(
    samples: NDArray[Any], state: NDArray[Any], taps: NDArray[Any], poles: NDArray[Any], high: int, /
) -> None: ...
