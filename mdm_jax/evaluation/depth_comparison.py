"""A true and a predicted depth map, brought to the pixels that a protocol compares.

Predictions that would silently improve the result are errors: those with holes, of
another part of the image, or with width and height swapped. True depth that is NaN,
infinite or not positive is unknown.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mdm_jax.evaluation.measures import depth_metrics
from mdm_jax.evaluation.protocols import DepthProtocol

KINDS = ("depth", "disparity")


class Compared(NamedTuple):
    """What a protocol compares of an image, as maps or as a row of pixels.

    Attributes:
        truth: metres, not positive where unknown.
        depth: predicted, in the prediction's unit.
        counted: the pixels that the protocol compares.
        moving: whether a pixel belongs to a moving object; None where unknown.
    """

    truth: Float[np.ndarray, "h w"]
    depth: Float[np.ndarray, "h w"]
    counted: Bool[np.ndarray, "h w"]
    moving: Bool[np.ndarray, "h w"] | None = None

    def pixels(self) -> Compared:
        """Returns the counted pixels alone, `[1 n]`."""
        truth, depth, counted = (x[self.counted][None] for x in self[:3])
        moving = None if self.moving is None else self.moving[self.counted][None]
        return Compared(truth, depth, counted, moving)


def compared(
    protocol: DepthProtocol,
    name: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    kind: str = "depth",
    moving: np.ndarray | None = None,
) -> Compared:
    """Returns the maps of the part of an image that the prediction shows.

    Args:
        protocol: supplies boxes, limits and resizing.
        name: of the prediction, for messages.
        truth: `[h w]`, metres, not positive or not finite where unknown.
        prediction: `[h' w']`, of any size and scale.
        kind: whether the prediction is `depth` or `disparity`, 1 / depth.
        moving: bool `[h w]`, true on moving objects.

    Raises:
        ValueError: the prediction is no map of finite positive values or has the wrong
            orientation, or the truth or the mask has the wrong size.
    """
    truth = _checked_truth(protocol, name, truth)
    box = protocol.view.slices(truth.shape)
    part = truth[box]
    _check_values(name, prediction, kind)
    if protocol.square_pixels:
        _check_shape(protocol, name, prediction.shape, truth.shape, part.shape)
    if moving is not None:
        if moving.shape != truth.shape:
            raise ValueError(
                f"{name}: its mask has {_size(moving.shape)} pixels and its true depth"
                f" {_size(truth.shape)}; both must have the same size"
            )
        moving = moving[box]
    crop = protocol.crop.slices(part.shape)
    counted = np.zeros(part.shape, bool)
    counted[crop] = depth_metrics.valid_pixels(
        part[crop], min_depth=protocol.min_truth, max_depth=protocol.max_truth
    )
    values = prediction.astype(np.float64)
    if kind != protocol.resized:
        values = 1 / values
    if values.shape != part.shape:
        values = resize(values, part.shape, interpolation=protocol.interpolation)
    depth = values if protocol.resized == "depth" else 1 / values
    return Compared(part, depth, counted, moving)


def scale_of(protocol: DepthProtocol, pixels: Compared) -> float:
    """Returns the ratio of the medians of an image, with the protocol's median."""
    return depth_metrics.median_scale(
        pixels.truth,
        pixels.depth,
        pixels.counted,
        lower=protocol.median == "lower",
    )


def resize(
    values: Float[np.ndarray, "h w"], size: tuple[int, int], *, interpolation: str
) -> Float[np.ndarray, "H W"]:
    """Returns a map at another size.

    Args:
        values: the map.
        size: (height, width).
        interpolation: `bilinear`, as `cv2.resize`, where both images cover the same
            area; `bilinear_corners`, where the centres of their corner pixels coincide;
            `nearest`, as `cv2.resize`, which takes the next pixel to the upper left.
    """
    height, width = size
    if interpolation == "bilinear_corners":
        values = _at_rows(values, np.linspace(0, values.shape[0] - 1, height))
        return _at_rows(values.T, np.linspace(0, values.shape[1] - 1, width)).T
    flag = cv2.INTER_NEAREST if interpolation == "nearest" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=flag))


def _checked_truth(protocol: DepthProtocol, name: str, truth: np.ndarray) -> np.ndarray:
    if truth.ndim != 2:
        raise ValueError(f"{name}: true depth is [h w], got shape {list(truth.shape)}")
    expected = protocol.truth_size
    if expected is not None and truth.shape != expected:
        raise ValueError(
            f"{name}: protocol {protocol.name} crops true depth of {_size(expected)}"
            f" pixels (height x width), got {_size(truth.shape)}"
        )
    return np.where(np.isfinite(truth), truth, 0).astype(np.float64)


def _check_values(name: str, prediction: np.ndarray, kind: str):
    if kind not in KINDS:
        raise ValueError(f"predictions are depth or disparity, got {kind!r}")
    if prediction.ndim != 2 or not prediction.size:
        raise ValueError(
            f"{name}: a prediction is one map [h w], got shape {list(prediction.shape)}"
        )
    wrong = ~(np.isfinite(prediction) & (prediction > 0))
    if wrong.any():
        y, x = np.unravel_index(np.argmax(wrong), wrong.shape)
        raise ValueError(
            f"{name}: predicted {kind} must be finite and positive, got"
            f" {prediction[y, x]:g} at row {y}, column {x} ({wrong.sum()} such pixels)."
            " Leaving these out would improve the result, so fill them"
        )


def _check_shape(
    protocol: DepthProtocol,
    name: str,
    shape: tuple[int, ...],
    truth_size: tuple[int, ...],
    view_size: tuple[int, ...],
):
    """Rejects predictions that are turned, or that show all of a cropped image."""
    aspect, view_aspect, truth_aspect = (
        math.log(size[1] / size[0]) for size in (shape, view_size, truth_size)
    )
    if aspect * view_aspect < 0:
        raise ValueError(
            f"{name}: the prediction has {_size(shape)} pixels (height x width), but the"
            f" image part it shows {_size(view_size)}: are width and height swapped?"
        )
    if abs(aspect - truth_aspect) < abs(aspect - view_aspect):
        raise ValueError(
            f"{name}: the prediction has the shape of the whole image"
            f" ({_size(truth_size)}); protocol {protocol.name} expects a prediction of"
            f" its part {protocol.view.text()} ({_size(view_size)})"
        )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _at_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the rows at fractional positions, interpolated."""
    first = np.minimum(rows.astype(int), len(values) - 1)
    second = np.minimum(first + 1, len(values) - 1)
    share = (rows - first)[:, None]
    return (1 - share) * values[first] + share * values[second]
