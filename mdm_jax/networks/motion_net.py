"""What every net that estimates the motion between two frames takes and returns."""

from __future__ import annotations

from typing import Any, Protocol

import flax.struct
from jaxtyping import Array


@flax.struct.dataclass
class FramePairs:
    """Pairs of a target frame a and a source frame b; a net reads what it needs.

    Attributes:
        image_a: `[b h w 3]`, target, colours in [0, 1].
        image_b: `[b h w 3]`, source.
        depth_a: `[b h w]`, depth of the target.
        depth_b: `[b h w]`, depth of the source.
        intrinsics: `[b 3 3]`, K of these images, in pixels.
        mask_a: bool `[b h w]`, the pixels of the target that the net may see; None for
            all. The others are grey.
        mask_b: likewise of the source.
    """

    image_a: Array
    image_b: Array
    depth_a: Any = None
    depth_b: Any = None
    intrinsics: Any = None
    mask_a: Any = None
    mask_b: Any = None


@flax.struct.dataclass
class MotionOutput:
    """The motion `b_from_a`, which maps points of frame a to frame b.

    With target a and source b it is `source_from_target`.

    Attributes:
        angles: `[b 3]`, Euler angles of the rotation, radians.
        translation: `[b 3]`, in depth units.
        residual: `[b h w 3]`, object translation at a's pixels, in depth units; None
            for a net without a residual field.
        bottleneck: `[b c]`, features of the pair for the intrinsics head; None for a
            net that has none.
    """

    angles: Array
    translation: Array
    residual: Any = None
    bottleneck: Any = None


class MotionNet(Protocol):
    """A net that estimates the motion between two frames."""

    def __call__(self, pairs: FramePairs, *, train: bool = False) -> MotionOutput:
        """Returns the motion `b_from_a`; `train` is for nets with batch norms."""
        ...
