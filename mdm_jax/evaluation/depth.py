"""Depth of many images measured by a protocol, one image at a time.

`DepthEvaluation` stores a few numbers for each image and no maps. An image without
valid true depth is left out and counted in `depth/num_skipped`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from absl import logging

from mdm_jax.evaluation import depth_comparison
from mdm_jax.evaluation.depth_comparison import Compared
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.measures import depth_metrics as metrics_lib
from mdm_jax.evaluation.protocols import DepthProtocol

_LOG_EVERY = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """Maps to compare, all in the order of the truth.

    Attributes:
        truth: metres, 0 where unknown.
        predictions: one for each true map.
        kind: whether the predictions are `depth` or `disparity`.
        labels: object labels of the size of the truth; None where unknown.
        moving_labels: the labels that move; if empty, all but 0.
    """

    truth: Maps
    predictions: Maps
    kind: str = "depth"
    labels: Maps | None = None
    moving_labels: Sequence[int] = ()

    def compared(self, protocol: DepthProtocol, index: int) -> Compared:
        """Returns what the protocol compares of an image, see `depth_comparison`."""
        moving = None
        if self.labels is not None:
            labels = self.labels.read(index)
            moving = labels != 0
            if self.moving_labels:
                moving = np.isin(labels, self.moving_labels)
        return depth_comparison.compared(
            protocol,
            self.predictions.places[index],
            self.truth.read(index),
            self.predictions.read(index),
            kind=self.kind,
            moving=moving,
        )


def evaluate(protocol: DepthProtocol, inputs: Inputs) -> DepthEvaluation:
    """Returns the evaluation of all images, read one at a time.

    A protocol with global scaling reads them twice. Errors are those of
    `depth_comparison.compared`.
    """
    evaluation = begin(protocol, inputs)
    for index in progress(len(inputs.truth)):
        evaluation.add(inputs.truth.names[index], inputs.compared(protocol, index))
    return evaluation


def begin(protocol: DepthProtocol, inputs: Inputs) -> DepthEvaluation:
    """Returns an empty evaluation, with the scale of all images if it is global."""
    if protocol.scaling != "global":
        return DepthEvaluation(protocol)
    images = (inputs.compared(protocol, i) for i in progress(len(inputs.truth)))
    pixels = (image.pixels() for image in images)
    scales = [depth_comparison.scale_of(protocol, p) for p in pixels if p.truth.size]
    return DepthEvaluation(protocol, scale=float(np.median(scales)) if scales else 1.0)


def progress(num_images: int) -> Iterator[int]:
    """Yields image indices, with a progress bar on a terminal and log lines elsewhere."""
    with tqdm.tqdm(total=num_images, unit="image", disable=None, leave=False) as bar:
        for index in range(num_images):
            yield index
            bar.update()
            if bar.disable and (index + 1) % _LOG_EVERY == 0:
                logging.info("%d of %d images", index + 1, num_images)


def examples(rows: Sequence[Mapping[str, Any]], *, count: int) -> dict[str, list[int]]:
    """Returns the indices of the rows with extreme errors, the most extreme first.

    Args:
        rows: of an evaluation.
        count: at most this many of each kind.

    Returns:
        Indices by `Worst` and, of the remaining rows, `Best`.
    """
    order = [i for i, row in enumerate(rows) if "abs_rel" in row]
    order.sort(key=lambda i: -rows[i]["abs_rel"])
    chosen = {"Worst": order[:count], "Best": order[count:][-count:][::-1]}
    return {title: indices for title, indices in chosen.items() if indices}


class DepthEvaluation:
    """Accumulates images into the metrics of a protocol.

    Attributes:
        rows: the numbers of each image, with its `name`; `factor` is what its depth was
            multiplied by.
    """

    def __init__(self, protocol: DepthProtocol, *, scale: float | None = None):
        """Initializes the evaluation.

        Args:
            protocol: how to measure.
            scale: the factor of all images, needed for global scaling only.
        """
        if protocol.scaling == "global" and scale is None:
            raise ValueError("a protocol with global scaling needs the scale")
        self._protocol = protocol
        self._scale = 1.0 if scale is None else scale
        self.rows: list[dict[str, Any]] = []
        self._parts: dict[str, list[dict[str, float]]] = {}
        self._holes = np.zeros(2)
        self._edges = protocol.range_edges()
        # Rows: pixels, and sums of |g - p| / g, (g - p)^2 and of ratios below 1.25.
        self._bins = np.zeros((4, len(self._edges) - 1))

    def add(self, name: str, image: Compared) -> None:
        """Adds an image."""
        pixels = image.pixels()
        row: dict[str, Any] = {"name": name, "pixels": pixels.truth.size}
        self.rows.append(row)
        if not pixels.truth.size:
            return
        ratio = depth_comparison.scale_of(self._protocol, pixels)
        factors = {"per_image": ratio, "global": self._scale, "none": 1.0}
        factor = factors[self._protocol.scaling]
        depth = pixels.depth * factor
        row |= {"scale": ratio, "factor": factor}
        row |= self._measure("depth", pixels.truth, depth, pixels.counted)
        unscaled = self._measure("depth_unscaled", *pixels[:3])
        row["unscaled_abs_rel"] = unscaled["abs_rel"]
        row["correlation"] = _correlation(np.log(pixels.truth), np.log(pixels.depth))
        self._add_to_bins(pixels.truth[0], depth[0])
        if pixels.moving is None:
            return
        for part, mask in (("static", ~pixels.moving), ("moving", pixels.moving)):
            if mask.any():
                values = self._measure(part, pixels.truth, depth, mask)
                row[f"{part}_abs_rel"] = values["abs_rel"]
        if count := pixels.moving.sum():
            rate = metrics_lib.hole_rate(pixels.truth, depth, pixels.moving)
            self._holes += (rate * count, count)
            row["hole_rate"] = rate

    def result(self) -> dict[str, float]:
        """Returns the metrics by key.

        `depth/` follows the protocol, and `depth_unscaled/` omits its scaling.
        `moving/` and `static/` average over the images with such pixels,
        `moving/hole_rate` over all moving pixels, and `depth_range/` over all pixels
        whose true depth lies in the range. `depth/correlation` compares logarithms and
        is negative where disparity was given as depth.

        Raises:
            ValueError: no image has valid true depth.
        """
        counted = [row for row in self.rows if row["pixels"]]
        if not counted:
            raise ValueError(
                f"none of {len(self.rows)} images has a true depth between"
                f" {self._protocol.min_truth:g} and {self._protocol.max_truth:g} m in"
                " the crop of the protocol"
            )
        result: dict[str, float] = {}
        for part, images in self._parts.items():
            result |= {f"{part}/{k}": v for k, v in self._averaged(images).items()}
            if part != "depth_unscaled":
                result[f"{part}/num_images"] = len(images)
        scales = np.array([row["scale"] for row in counted])
        correlations = [row["correlation"] for row in counted]
        result |= {
            "depth/num_skipped": len(self.rows) - len(counted),
            "depth/min_pixels": min(row["pixels"] for row in counted),
            "depth/correlation": float(np.mean(correlations)),
            "depth/scale": float(np.mean(scales)),
            # Papers quote both spreads: over the mean, and monodepth2's over the median.
            "depth/scale_spread": float(np.std(scales) / np.mean(scales)),
            "depth/scale_median": float(np.median(scales)),
            "depth/scale_std_over_median": float(np.std(scales / np.median(scales))),
        }
        if self._holes[1]:
            result["moving/hole_rate"] = float(self._holes[0] / self._holes[1])
        for row in self.by_range():
            prefix = f"depth_range/{row['range']}"
            result |= {f"{prefix}/{k}": v for k, v in row.items() if k != "range"}
        return result

    def by_range(self) -> list[dict[str, Any]]:
        """Returns the errors over the pixels of each range of true depth."""
        return [
            {
                "range": f"{low:g}-{high:g}m",
                "abs_rel": float(relative / count),
                "rmse": math.sqrt(squares / count),
                "a1": float(close / count),
                "num_pixels": int(count),
            }
            for low, high, (count, relative, squares, close) in zip(
                self._edges[:-1], self._edges[1:], self._bins.T, strict=True
            )
            if count
        ]

    def _measure(
        self, part: str, truth: np.ndarray, depth: np.ndarray, mask: np.ndarray
    ) -> dict[str, float]:
        """Adds an image's errors over the masked pixels to a part; returns them."""
        values = metrics_lib.depth_metrics(
            truth,
            depth,
            mask,
            min_depth=self._protocol.min_clip,
            max_depth=self._protocol.max_clip,
        )
        if self._protocol.log10:
            values["rmse_log"] /= math.log(10)
        images = self._parts.setdefault(part, [])
        images.append(values | {"pixels": float(mask.sum())})
        return values

    def _averaged(self, images: list[dict[str, float]]) -> dict[str, float]:
        by_pixel = self._protocol.averaging == "pixels"
        weights = np.array([image["pixels"] if by_pixel else 1.0 for image in images])
        result = {}
        for name in metrics_lib.NAMES:
            values = np.array([image[name] for image in images])
            if by_pixel and name.startswith("rmse"):
                result[name] = float(np.sqrt(np.average(values**2, weights=weights)))
            else:
                result[name] = float(np.average(values, weights=weights))
        return result

    def _add_to_bins(self, truth: np.ndarray, depth: np.ndarray) -> None:
        g = truth
        p = np.clip(depth, self._protocol.min_clip, self._protocol.max_clip)
        bins = np.clip(np.searchsorted(self._edges, g, side="right") - 1, 0, None)
        bins = np.minimum(bins, self._bins.shape[1] - 1)
        close = np.maximum(g / p, p / g) < 1.25
        columns = (np.ones_like(g), np.abs(g - p) / g, (g - p) ** 2, close)
        for row, values in zip(self._bins, columns, strict=True):
            row += np.bincount(bins, weights=values, minlength=len(row))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the correlation coefficient, 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b)) / math.sqrt(power) if power > 0 else 0.0
