"""The published evaluation protocols by name, with every detail that changes a digit.

A protocol states which true values count, how a prediction is resized and scaled, and
how images are averaged. `source` names the script or paper whose numbers it reproduces.
A protocol with a changed field is another protocol, and reports say so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import alignment
from mdm_jax.evaluation.measures import odometry_metrics

SCALINGS = ("per_image", "global", "none")

# An integer is a pixel; a fraction is a share of the side, truncated to a pixel.
Edge = int | float | None


@dataclasses.dataclass(frozen=True)
class Box:
    """A part of an image; `bottom` and `right` are excluded, None is the image's end."""

    top: Edge = 0
    bottom: Edge = None
    left: Edge = 0
    right: Edge = None

    def slices(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Returns rows and columns in an image of (height, width)."""

        def pixel(edge: Edge, side: int) -> int:
            if edge is None:
                return side
            return edge if isinstance(edge, int) else int(edge * side)

        rows, columns = (self.top, self.bottom), (self.left, self.right)
        y0, y1 = (pixel(edge, size[0]) for edge in rows)
        x0, x1 = (pixel(edge, size[1]) for edge in columns)
        return slice(y0, y1), slice(x0, x1)

    def text(self) -> str:
        """Returns e.g. `rows 256:, columns 192:1856`, or `all`."""

        def text(edge: Edge) -> str:
            if isinstance(edge, float):
                return f"{edge:.4g}"
            return "" if edge is None else str(edge)

        parts = [
            f"{name} {text(first)}:{text(last)}"
            for name, first, last in (
                ("rows", self.top, self.bottom),
                ("columns", self.left, self.right),
            )
            if first or last is not None
        ]
        return ", ".join(parts) or "all"


def _check(protocol: object, field: str, allowed: Sequence[str]):
    value = getattr(protocol, field)
    if value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class DepthProtocol:
    """How depth is measured.

    Attributes:
        name: on the command line.
        source: of the details.
        num_images: size of the test set; None if it varies.
        truth_size: (height, width) that the boxes refer to; None for any size.
        view: the part of the truth that the predicted image shows, to whose size the
            prediction is resized.
        crop: the part of the view that is measured.
        min_truth: smaller true depth is ignored, metres.
        max_truth: larger true depth is ignored, metres: the cap.
        min_clip: lower limit that scaled predictions are clipped to, metres.
        max_clip: upper limit, metres.
        resized: whether `depth` or `disparity` is interpolated.
        interpolation: `bilinear`, where both images cover the same area;
            `bilinear_corners`, where the centres of their corner pixels coincide; or
            `nearest`.
        median: of an even number of values, the `mean` of the two in the middle, as
            `np.median`, or the `lower` one, as `torch.median`.
        scaling: `per_image`, by the ratio of medians; `global`, by the median of these
            ratios; or `none`.
        averaging: over `images`, or over the `pixels` of all images.
        log10: whether RMSE log uses decimal logarithms.
        square_pixels: whether truth and image have the same aspect ratio.
    """

    name: str
    source: str
    num_images: int | None = None
    truth_size: tuple[int, int] | None = None
    view: Box = Box()
    crop: Box = Box()
    min_truth: float = 1e-3
    max_truth: float = 80.0
    min_clip: float = 1e-3
    max_clip: float = 80.0
    resized: str = "depth"
    interpolation: str = "bilinear"
    median: str = "mean"
    scaling: str = "per_image"
    averaging: str = "images"
    log10: bool = False
    square_pixels: bool = True

    def __post_init__(self):
        _check(self, "resized", ("depth", "disparity"))
        _check(self, "interpolation", ("bilinear", "bilinear_corners", "nearest"))
        _check(self, "median", ("mean", "lower"))
        _check(self, "scaling", SCALINGS)
        _check(self, "averaging", ("images", "pixels"))

    def settings(self) -> dict[str, str]:
        """Returns every detail in words, for tables."""
        size = "any" if self.truth_size is None else "{}x{}".format(*self.truth_size)
        return {
            "images": str(self.num_images or "any"),
            "size of the truth": size,
            "true depth [m]": f"{self.min_truth:g} to {self.max_truth:g}",
            "clipped to [m]": f"{self.min_clip:g} to {self.max_clip:g}",
            "prediction shows": self.view.text(),
            "crop": self.crop.text(),
            "resized": f"{self.resized}, {self.interpolation}",
            "median": "np.median" if self.median == "mean" else "torch.median",
            "scaling": self.scaling,
            "averaging": self.averaging,
            "RMSE log": "log10" if self.log10 else "ln",
        }

    def range_edges(self) -> Float[np.ndarray, " n"]:
        """Returns the limits of the ranges of true depth, metres, from 0 to the cap."""
        inner = (0, 5, 10, 20, 30, 40, 50, 60, 80, 120, 160)
        return np.array([e for e in inner if e < self.max_truth] + [self.max_truth])


@dataclasses.dataclass(frozen=True)
class OdometryProtocol:
    """How trajectories are measured.

    Attributes:
        name: on the command line.
        source: of the details.
        alignment: of whole trajectories, see `alignment.align`; empty if only snippets
            are measured.
        rebased: whether both trajectories are first expressed relative to the first
            predicted frame.
        snippet_length: frames.
        segment_lengths: lengths of the segments for t_err and r_err, metres; empty for
            none.
        segment_step: frames between the starts of segments.
    """

    name: str
    source: str
    alignment: str = "similarity"
    rebased: bool = True
    snippet_length: int = 5
    segment_lengths: tuple[int, ...] = odometry_metrics.SEGMENT_LENGTHS
    segment_step: int = odometry_metrics.SEGMENT_STEP

    def __post_init__(self):
        if self.alignment:
            _check(self, "alignment", alignment.KINDS)

    def settings(self) -> dict[str, str]:
        """Returns every detail in words, for tables."""
        lengths = self.segment_lengths
        return {
            "alignment": self.alignment or "snippets only",
            "origin": "first predicted frame" if self.rebased else "as in the file",
            "segments [m]": f"{lengths[0]} to {lengths[-1]}" if lengths else "none",
            "segments start every": f"{self.segment_step} frames" if lengths else "-",
            "snippets": f"{self.snippet_length} frames",
            "scale of snippets": "least squares, each",
            "averaging": "over sequences; over all snippets",
        }


Protocol = DepthProtocol | OdometryProtocol

_GARG = Box(top=0.40810811, bottom=0.99189189, left=0.03594771, right=0.96405229)
_MONODEPTH2 = "monodepth2 evaluate_depth.py (Godard et al. 2019)"

_ALL: tuple[Protocol, ...] = (
    DepthProtocol(
        name="kitti_eigen",
        source=f"{_MONODEPTH2}, split eigen, crop of Garg et al. 2016",
        num_images=697,
        crop=_GARG,
        resized="disparity",
    ),
    DepthProtocol(
        name="kitti_eigen_improved",
        # All accumulated LiDAR of Uhrig et al. 2017, without crop and cap.
        source=f"{_MONODEPTH2}, split eigen_benchmark: any true depth, no crop",
        num_images=652,
        min_truth=0.0,
        max_truth=math.inf,
        resized="disparity",
    ),
    DepthProtocol(
        name="cityscapes",
        source="manydepth evaluate_depth.py (Watson et al. 2021), after struct2depth",
        num_images=1525,
        truth_size=(1024, 2048),
        view=Box(bottom=0.75),
        crop=Box(top=256, left=192, right=1856),
        resized="disparity",
    ),
    DepthProtocol(
        name="waymo",
        source="Li et al. 2020, cap 80 m; unspecified there: depth resized, no crop",
    ),
    DepthProtocol(
        name="nuscenes",
        source="Dynamo-Depth eval/depth.py and tools.py (Sun and Hariharan 2023)",
        max_truth=75.0,
        max_clip=75.0,
        resized="disparity",
        median="lower",
    ),
    DepthProtocol(
        name="ddad",
        source="packnet-sfm utils/depth.py, eval_ddad.yaml (Guizilini et al. 2020)",
        min_truth=0.0,
        max_truth=200.0,
        min_clip=0.0,
        max_clip=200.0,
        interpolation="bilinear_corners",
        median="lower",
    ),
    DepthProtocol(
        name="make3d",
        source="C1 error of Godard et al. 2019, code in monodepth issue 189",
        num_images=134,
        truth_size=(55, 305),
        # The middle 2:1 part of the upright image.
        view=Box(top=17, bottom=38),
        min_truth=0.0,
        max_truth=70.0,
        min_clip=0.0,
        max_clip=70.0,
        interpolation="nearest",
        log10=True,
        square_pixels=False,
    ),
    DepthProtocol(
        name="synthetic",
        source="this project: dense true depth of rendered drives",
    ),
    OdometryProtocol(
        name="kitti_odometry_snippets",
        source="SfMLearner pose_evaluation_utils.py (Zhou et al. 2017)",
        alignment="",
        segment_lengths=(),
    ),
    OdometryProtocol(
        name="kitti_odometry",
        source="kitti-odom-eval, 7dof (Zhan et al. 2020); KITTI devkit's t_err, r_err",
    ),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def get(name: str) -> Protocol:
    """Returns a protocol by its name.

    Raises:
        ValueError: no protocol has this name.
    """
    if name not in PROTOCOLS:
        raise ValueError(
            f"protocol {name!r} is none of {', '.join(PROTOCOLS)}; `list` explains them"
        )
    return PROTOCOLS[name]


def tables(*, columns: int = 4) -> dict[str, list[list[str]]]:
    """Returns tables by title, with at most `columns` protocols side by side."""
    result = {}
    for title, kind in (("depth", DepthProtocol), ("odometry", OdometryProtocol)):
        names = [name for name, p in PROTOCOLS.items() if isinstance(p, kind)]
        for start in range(0, len(names), columns):
            chosen = names[start : start + columns]
            settings = [PROTOCOLS[name].settings() for name in chosen]
            rows = [[key, *(s[key] for s in settings)] for key in settings[0]]
            result[f"{title}: {', '.join(chosen)}"] = [["", *chosen], *rows]
    return result


def changes(protocol: Protocol) -> Sequence[str]:
    """Returns how fields differ from the protocol of that name, e.g. `scaling=none`."""
    original = get(protocol.name)
    return [
        f"{field.name}={getattr(protocol, field.name)}"
        for field in dataclasses.fields(protocol)
        if getattr(protocol, field.name) != getattr(original, field.name)
    ]
