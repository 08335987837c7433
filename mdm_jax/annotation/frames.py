"""The two protocols of annotation: what is in a frame, and how two frames differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from mdm_jax.masks.instances import Instances


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame as mask and flow sources are given it.

    Attributes:
        index: its number in the clip, from 0.
        name: of its file without suffix; `000000` and so on for a video.
        image: uint8 RGB `[h w 3]`.
    """

    index: int
    name: str
    image: np.ndarray


# Returns the objects of a frame. Masks may overlap, and ids mean nothing.
MaskSource = Callable[[Frame], Instances]
# Returns the flow, float32 `[h w 2]`, from the first to the second of two neighbouring
# frames, in either direction of time; see `flow`.
FlowSource = Callable[[Frame, Frame], np.ndarray]
