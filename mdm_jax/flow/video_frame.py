"""A frame of a video as mask and flow sources receive it, and the type of the latter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame as mask and flow sources receive it.

    Attributes:
        index: its number in the clip, from 0.
        name: of its file without suffix; `000000` and so on for a video.
        image: uint8 RGB `[h w 3]`.
    """

    index: int
    name: str
    image: np.ndarray


# Returns the flow, float32 `[h w 2]`, from the first to the second of two frames, in
# either direction of time; see `flow_field`.
FlowSource = Callable[[Frame, Frame], np.ndarray]
