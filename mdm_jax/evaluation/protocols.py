"""The published evaluation protocols by name, with every detail that moves a digit.

A protocol is a value: what of the truth counts, how a prediction is brought to its size
and scale, and how images are averaged. `source` is the script or paper whose numbers
come out. Changing a field makes another protocol; reports then say which.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import alignment, odometry_metrics

# How images are resized, and what a field may be.
INTERPOLATIONS = ("bilinear", "bilinear_corners", "nearest")
SCALINGS = ("per_image", "global", "none")

# A whole number is a pixel; a fraction is a share of the side, cut to a whole pixel.
Edge = int | float | None


@dataclasses.dataclass(frozen=True)
class Box:
    """A part of an image, from `top` and `left` up to, not including, the others.

    None as `bottom` or `right` is the end of the image.
    """

    top: Edge = 0
    bottom: Edge = None
    left: Edge = 0
    right: Edge = None

    def slices(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Returns rows and columns in an image of (height, width)."""
        height, width = size
        rows = slice(_pixel(self.top, height), _pixel(self.bottom, height))
        return rows, slice(_pixel(self.left, width), _pixel(self.right, width))

    def text(self) -> str:
        """Returns e.g. `rows 256:, columns 192:1856`, or `all`."""
        parts = [
            f"{name} {_text(first)}:{_text(last)}"
            for name, first, last in (
                ("rows", self.top, self.bottom),
                ("columns", self.left, self.right),
            )
            if first or last is not None
        ]
        return ", ".join(parts) or "all"


@dataclasses.dataclass(frozen=True)
class DepthProtocol:
    """How depth is measured.

    Attributes:
        name: on the command line.
        source: of the details.
        num_images: of the test set; None where it has no fixed number.
        truth_size: (height, width) that the boxes belong to; None for any size.
        view: the part of the truth that the predicted image shows. The prediction is
            resized to this part, not to all of it.
        crop: the part of the view that is measured.
        min_truth: true depth counts above it, metres.
        max_truth: true depth counts below it, metres: the cap.
        min_clip: scaled predictions are raised to it, metres.
        max_clip: scaled predictions are lowered to it, metres.
        resized: `depth` or `disparity`, what is interpolated.
        interpolation: one of `INTERPOLATIONS`: between pixel centres, between the
            centres of the corner pixels, or none.
        median: `mean` of the two middle values of an even number, as `np.median`, or
            the `lower` of them, as `torch.median`.
        scaling: by the ratio of medians, `per_image`; `global`, by the median of these
            ratios; or `none`.
        averaging: over `images`, or over the `pixels` of all of them.
        log10: whether RMSE log is in decimal logarithms.
        square_pixels: whether the shape of the truth is that of the image.
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
        for field, known in (
            ("resized", ("depth", "disparity")),
            ("interpolation", INTERPOLATIONS),
            ("median", ("mean", "lower")),
            ("scaling", SCALINGS),
            ("averaging", ("images", "pixels")),
        ):
            if getattr(self, field) not in known:
                raise ValueError(
                    f"{field} must be one of {', '.join(known)}, got"
                    f" {getattr(self, field)!r}"
                )

    def settings(self) -> dict[str, str]:
        """Returns every detail in words, for tables."""
        images = "any" if self.num_images is None else str(self.num_images)
        size = "any" if self.truth_size is None else "{}x{}".format(*self.truth_size)
        return {
            "images": images,
            "true size": size,
            "true depth [m]": f"{self.min_truth:g} to {self.max_truth:g}",
            "prediction clipped [m]": f"{self.min_clip:g} to {self.max_clip:g}",
            "prediction shows": self.view.text(),
            "crop of it": self.crop.text(),
            "resized": f"{self.resized}, {self.interpolation}",
            "median": "np.median" if self.median == "mean" else "lower",
            "scaling": self.scaling,
            "averaging": self.averaging,
            "RMSE log": "log10" if self.log10 else "ln",
        }

    def range_edges(self) -> Float[np.ndarray, " n"]:
        """Returns the limits of the depth bins, metres, from 0 to the cap."""
        inner = (0, 5, 10, 20, 30, 40, 50, 60, 80, 120, 160)
        return np.array([e for e in inner if e < self.max_truth] + [self.max_truth])


@dataclasses.dataclass(frozen=True)
class OdometryProtocol:
    """How trajectories are measured.

    Attributes:
        name: on the command line.
        source: of the details.
        alignment: of whole trajectories, see `alignment.align`; empty where only
            snippets are measured.
        rebased: whether both trajectories are first seen from the first predicted
            frame.
        snippet_length: frames.
        segment_lengths: of the stretches for t_err and r_err, metres; empty for none.
        segment_step: frames between the starts of stretches.
    """

    name: str
    source: str
    alignment: str = "similarity"
    rebased: bool = True
    snippet_length: int = 5
    segment_lengths: tuple[int, ...] = odometry_metrics.SEGMENT_LENGTHS
    segment_step: int = odometry_metrics.SEGMENT_STEP

    def __post_init__(self):
        if self.alignment and self.alignment not in alignment.KINDS:
            raise ValueError(
                f"alignment must be one of {', '.join(alignment.KINDS)}, got"
                f" {self.alignment!r}"
            )

    def settings(self) -> dict[str, str]:
        """Returns every detail in words, for tables."""
        lengths = "none"
        if self.segment_lengths:
            lengths = f"{self.segment_lengths[0]} to {self.segment_lengths[-1]}"
        return {
            "whole trajectory": self.alignment or "not measured",
            "first frame": "origin of both" if self.rebased else "as in the file",
            "stretches [m]": lengths,
            "from every frame": str(self.segment_step) if self.segment_lengths else "-",
            "snippets [frames]": str(self.snippet_length),
            "snippet scale": "least squares, each",
            "averaging": "sequences; snippets of all",
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
        # All of the accumulated LiDAR of Uhrig et al. 2017: no crop and no cap.
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
        source="Li et al. 2020, cap 80 m; left open there: depth resized, no crop",
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
PROTOCOLS: dict[str, Protocol] = {one.name: one for one in _ALL}


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
    """Returns tables with one protocol a column, by title.

    Args:
        columns: protocols beside each other, at most.
    """
    result = {}
    for title, kind in (("depth", DepthProtocol), ("odometry", OdometryProtocol)):
        names = [name for name, one in PROTOCOLS.items() if isinstance(one, kind)]
        for start in range(0, len(names), columns):
            chosen = names[start : start + columns]
            settings = [PROTOCOLS[name].settings() for name in chosen]
            rows = [[key, *(s[key] for s in settings)] for key in settings[0]]
            result[f"{title}: {', '.join(chosen)}"] = [["", *chosen], *rows]
    return result


def changes(protocol: Protocol) -> Sequence[str]:
    """Returns which fields differ from the protocol of that name, e.g. `scaling=none`."""
    original = get(protocol.name)
    return [
        f"{field.name}={getattr(protocol, field.name)}"
        for field in dataclasses.fields(protocol)
        if getattr(protocol, field.name) != getattr(original, field.name)
    ]


def _pixel(edge: Edge, size: int) -> int:
    if edge is None:
        return size
    return edge if isinstance(edge, int) else int(edge * size)


def _text(edge: Edge) -> str:
    if edge is None:
        return ""
    return str(edge) if isinstance(edge, int) else f"{edge:.4g}"
