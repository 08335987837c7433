"""The metrics by key: title, unit, direction and baseline, for every table and page."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Label:
    """How a metric is shown.

    Attributes:
        title: without unit.
        unit: empty for ratios and counts.
        better: `lower` or `higher`; empty if neither is better.
        baseline: key of the metric of a guess that uses no image or no motion.
    """

    title: str
    unit: str = ""
    better: str = "lower"
    baseline: str = ""

    def text(self) -> str:
        """Returns the title with the unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


# The metrics of a depth map.
DEPTH = {
    "abs_rel": Label("Abs Rel"),
    "sq_rel": Label("Sq Rel"),
    "rmse": Label("RMSE", "m"),
    "rmse_log": Label("RMSE log"),
    "a1": Label("delta < 1.25", better="higher"),
    "a2": Label("delta < 1.25^2", better="higher"),
    "a3": Label("delta < 1.25^3", better="higher"),
}

# The metrics of drives, in the order of tables.
DRIVES = {
    **{
        f"depth/{name}": dataclasses.replace(
            label,
            title=f"depth {label.title}",
            baseline="baseline/abs_rel" if name == "abs_rel" else "",
        )
        for name, label in DEPTH.items()
    },
    **{
        f"{part}/abs_rel": Label(
            f"Abs Rel, {part}", baseline=f"baseline/{part}_abs_rel"
        )
        for part in ("moving", "static", "instances", "background")
    },
    "moving/hole_rate": Label("moving pixels > 3x too far"),
    "egomotion/translation_error": Label(
        "egomotion, translation error", baseline="egomotion/constant_velocity_error"
    ),
    "egomotion/direction_deg": Label("egomotion, direction", "deg"),
    "egomotion/rotation_deg": Label("egomotion, rotation", "deg"),
    "motion/iou": Label(
        "motion IoU", better="higher", baseline="motion/iou_all_moving"
    ),
    "motion/f1": Label("motion F1", better="higher"),
    "motion/best_iou": Label("motion IoU, best threshold", better="higher"),
    "motion/best_f1": Label("motion F1, best threshold", better="higher"),
    "objects/abs_rel": Label("moving objects, mean Abs Rel"),
    "objects/direction_deg": Label("object direction", "deg"),
    "objects/direction_median_deg": Label("object direction, median", "deg"),
    "objects/direction_seen_twice_deg": Label(
        "object direction, in both frames", "deg"
    ),
    "objects/magnitude_error": Label("object speed, relative error"),
    "objects/following_hole_rate": Label("objects at camera speed > 3x too far"),
    "optical_flow/epe": Label("optical flow, end-point error", "pixels"),
    "optical_flow/moving_epe": Label("optical flow, moving pixels", "pixels"),
    "optical_flow/outlier_rate": Label("optical flow, outlier rate"),
    "scene_flow/epe_m": Label("scene flow, end-point error", "m"),
    "scene_flow/moving_epe_m": Label("scene flow, moving pixels", "m"),
    "scene_flow/outlier_rate": Label("scene flow, outlier rate"),
    **{
        f"intrinsics/{name}": Label(f"learned {name}", "pixels", better="")
        for name in ("fx", "fy", "cx", "cy")
    },
    "intrinsics/focal_relative_error": Label("focal length, relative error"),
    "reconstruction/colour_error": Label(
        "colour error of the warped frame",
        baseline="reconstruction/unwarped_colour_error",
    ),
}

# The metrics of trajectories.
ODOMETRY = {
    "ate_rmse_m": Label("ATE", "m"),
    "t_err_percent": Label("t_err", "%"),
    "r_err_deg_per_100m": Label("r_err", "deg/100 m"),
    "rpe_m": Label("RPE", "m"),
    "rpe_deg": Label("RPE", "deg"),
    "snippet_ate_mean": Label("snippet ATE"),
    "snippet_ate_std": Label("std"),
    "snippet_rmse_mean_m": Label("snippet RMSE", "m"),
    "num_frames": Label("frames", better=""),
    "num_missing": Label("missing", better=""),
}

_COLUMNS = {
    "range": "true depth",
    "num_pixels": "pixels",
    "threshold": "threshold",
    "iou": "IoU",
    "f1": "F1",
    "length_m": "length [m]",
    "num_segments": "segments",
}


def column(name: str) -> str:
    """Returns the heading of a column of metrics."""
    label = DEPTH.get(name) or ODOMETRY.get(name)
    return label.text() if label else _COLUMNS.get(name, name)
