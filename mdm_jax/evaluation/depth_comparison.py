"""A true and a predicted depth map turned into the numbers that a protocol compares.

What would make a number silently better is refused: a prediction with holes, of another
part of the image, or with width and height swapped. True depth that is NaN, infinite or
not positive is unknown.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mdm_jax.evaluation import depth_metrics
from mdm_jax.evaluation.protocols import DepthProtocol

KINDS = ("depth", "disparity")


class Compared(NamedTuple):
    """The pixels of an image that count, in one row.

    Attributes:
        truth: `[1 n]`, metres.
        depth: `[1 n]`, predicted, in the prediction's unit.
        moving: bool `[1 n]`, on a moving object; None where unknown.
    """

    truth: Float[np.ndarray, "1 n"]
    depth: Float[np.ndarray, "1 n"]
    moving: Bool[np.ndarray, "1 n"] | None


class Seen(NamedTuple):
    """The maps of what the predicted image shows.

    Attributes:
        truth: `[h w]`, metres, not positive where unknown.
        depth: `[h w]`, predicted, in the prediction's unit.
        counted: bool `[h w]`, what the protocol measures.
    """

    truth: Float[np.ndarray, "h w"]
    depth: Float[np.ndarray, "h w"]
    counted: Bool[np.ndarray, "h w"]


def compared(
    protocol: DepthProtocol,
    name: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    kind: str = "depth",
    moving: np.ndarray | None = None,
) -> Compared:
    """Returns the numbers of an image that a protocol compares; there may be none.

    Args:
        protocol: whose boxes, limits and resizing are used.
        name: of the prediction, for messages.
        truth: `[h w]`, metres, not positive or not finite where unknown.
        prediction: `[h' w']`, of any size and scale.
        kind: of the prediction, `depth` or `disparity` (1 / depth).
        moving: bool `[h w]`, true on moving objects.

    Raises:
        ValueError: the prediction is not a map, upright where the truth is lying, or
            not finite and positive everywhere; or the truth or the mask has the wrong
            size. Names the prediction.
    """
    maps = seen(protocol, name, truth, prediction, kind=kind)
    if moving is not None:
        if moving.shape != truth.shape:
            raise ValueError(
                f"{name}: its mask has {_size(moving.shape)} pixels and its true depth"
                f" {_size(truth.shape)}; they must be equal"
            )
        moving = moving[protocol.view.slices(truth.shape)][maps.counted][None]
    return Compared(
        maps.truth[maps.counted][None], maps.depth[maps.counted][None], moving
    )


def seen(
    protocol: DepthProtocol,
    name: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    kind: str = "depth",
) -> Seen:
    """Returns the maps of the part of the truth that the predicted image shows.

    The arguments and errors are those of `compared`.
    """
    truth = _checked_truth(protocol, name, truth)
    view = truth[protocol.view.slices(truth.shape)]
    prediction = _checked_prediction(
        protocol, name, prediction, kind, truth.shape, view.shape
    )
    crop = protocol.crop.slices(view.shape)
    counted = np.zeros(view.shape, bool)
    counted[crop] = depth_metrics.valid_pixels(
        view[crop], min_depth=protocol.min_truth, max_depth=protocol.max_truth
    )
    depth = _resized(protocol, prediction, kind=kind, size=view.shape)
    return Seen(view, depth, counted)


def scale_of(protocol: DepthProtocol, pixels: Compared) -> float:
    """Returns the ratio of medians of an image, as the protocol defines the median."""
    return depth_metrics.median_scale(
        pixels.truth,
        pixels.depth,
        np.ones_like(pixels.truth, bool),
        lower=protocol.median == "lower",
    )


def _checked_truth(protocol: DepthProtocol, name: str, truth: np.ndarray) -> np.ndarray:
    if truth.ndim != 2:
        raise ValueError(f"{name}: true depth is [h w], got shape {list(truth.shape)}")
    expected = protocol.truth_size
    if expected is not None and truth.shape != expected:
        raise ValueError(
            f"{name}: protocol {protocol.name} crops true depth of {_size(expected)}"
            f" pixels (width x height), got {_size(truth.shape)}"
        )
    return np.where(np.isfinite(truth), truth, 0).astype(np.float64)


def _checked_prediction(
    protocol: DepthProtocol,
    name: str,
    prediction: np.ndarray,
    kind: str,
    truth_size: tuple[int, int],
    view_size: tuple[int, int],
) -> np.ndarray:
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
            f" {prediction[y, x]:g} at row {y}, column {x} ({wrong.sum()} such pixels);"
            " leaving them out would make the result better than it is: fill them"
        )
    shape = prediction.shape
    if protocol.square_pixels and _turned(shape, view_size):
        raise ValueError(
            f"{name}: the prediction is {_size(shape)} pixels (width x height) and what"
            f" it shows {_size(view_size)}: are width and height swapped?"
        )
    if protocol.square_pixels and truth_size != view_size:
        apart, apart_from_all = (
            abs(math.log(_aspect(shape) / _aspect(other)))
            for other in (view_size, truth_size)
        )
        if apart_from_all < apart:
            raise ValueError(
                f"{name}: the prediction has the shape of the whole image"
                f" ({_size(truth_size)}); protocol {protocol.name} expects one of its"
                f" part {protocol.view.text()} ({_size(view_size)})"
            )
    return prediction.astype(np.float64)


def _turned(shape: tuple[int, int], other: tuple[int, int]) -> bool:
    """Says whether one is upright and the other one lies."""
    return math.log(_aspect(shape)) * math.log(_aspect(other)) < 0


def _aspect(size: tuple[int, int]) -> float:
    return size[1] / size[0]


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in reversed(shape))


def _resized(
    protocol: DepthProtocol,
    prediction: Float[np.ndarray, "h w"],
    *,
    kind: str,
    size: tuple[int, int],
) -> Float[np.ndarray, "H W"]:
    """Returns depth of a size, resized as depth or as disparity."""
    values = prediction if kind == protocol.resized else 1 / prediction
    if values.shape != size:
        values = resize(values, size, interpolation=protocol.interpolation)
    return values if protocol.resized == "depth" else 1 / values


def resize(
    values: Float[np.ndarray, "h w"], size: tuple[int, int], *, interpolation: str
) -> Float[np.ndarray, "H W"]:
    """Returns values at another size.

    Args:
        values: a map.
        size: (height, width).
        interpolation: `bilinear`, as `cv2.resize`: images cover the same area;
            `bilinear_corners`: the centres of their corner pixels coincide;
            `nearest`: the pixel left above, as `cv2.resize`.
    """
    height, width = size
    if interpolation == "bilinear_corners":
        values = _at_rows(values, np.linspace(0, values.shape[0] - 1, height))
        return _at_rows(values.T, np.linspace(0, values.shape[1] - 1, width)).T
    flag = cv2.INTER_NEAREST if interpolation == "nearest" else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=flag))


def _at_rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the rows at fractional numbers, interpolated."""
    first = np.minimum(rows.astype(int), len(values) - 1)
    second = np.minimum(first + 1, len(values) - 1)
    share = (rows - first)[:, None]
    return (1 - share) * values[first] + share * values[second]
