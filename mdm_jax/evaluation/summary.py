"""What a person reads of an evaluation: the main table, and what to be careful about.

Tables are rows of cells, the first of them the names of the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mdm_jax.evaluation import alignment, depth_metrics, protocols

Table = list[list[Any]]

# Once it is scaled by its median, an image with fewer true pixels tells little.
_FEW_PIXELS = 100
# More sequences than these are in the file alone.
_MANY_ROWS = 15
_DEPTH_ROWS = {
    "abs_rel": "Abs Rel",
    "sq_rel": "Sq Rel",
    "rmse": "RMSE [m]",
    "rmse_log": "RMSE log",
    "a1": "delta < 1.25",
    "a2": "delta < 1.25^2",
    "a3": "delta < 1.25^3",
}
_ODOMETRY_COLUMNS = {
    "ate_rmse_m": "ATE [m]",
    "t_err_percent": "t_err [%]",
    "r_err_deg_per_100m": "r_err [deg/100 m]",
    "rpe_m": "RPE [m]",
    "rpe_deg": "RPE [deg]",
    "snippet_ate_mean": "snippet ATE",
    "snippet_ate_std": "std",
    "snippet_rmse_mean_m": "snippet RMSE [m]",
    "num_frames": "frames",
    "num_missing": "missing",
}
# Metrics of a run beside depth, and what to compare them with.
_MOTION_ROWS = (
    ("best map without the image, Abs Rel", "baseline/abs_rel", None),
    ("moving: the same", "baseline/moving_abs_rel", None),
    (
        "egomotion translation error",
        "egomotion/translation_error",
        "egomotion/constant_velocity_error",
    ),
    ("egomotion direction [deg]", "egomotion/direction_deg", None),
    ("egomotion rotation [deg]", "egomotion/rotation_deg", None),
    ("motion IoU", "motion/iou", "motion/iou_all_moving"),
    ("motion F1", "motion/f1", None),
    ("motion IoU, best threshold", "motion/best_iou", None),
    ("motion F1, best threshold", "motion/best_f1", None),
    ("Abs Rel, mean of moving objects", "objects/abs_rel", None),
    ("object direction [deg]", "objects/direction_deg", None),
    ("object direction, median [deg]", "objects/direction_median_deg", None),
    ("of those in both frames [deg]", "objects/direction_seen_twice_deg", None),
    ("object magnitude, relative error", "objects/magnitude_error", None),
    ("at camera speed: share > 3x too far", "objects/following_hole_rate", None),
    ("optical flow end-point error [pixels]", "optical_flow/epe", None),
    ("optical flow, moving", "optical_flow/moving_epe", None),
    ("optical flow, outliers", "optical_flow/outlier_rate", None),
    ("scene flow end-point error [m]", "scene_flow/epe_m", None),
    ("scene flow, moving", "scene_flow/moving_epe_m", None),
    ("scene flow, outliers", "scene_flow/outlier_rate", None),
    ("focal length, relative error", "intrinsics/focal_relative_error", None),
    (
        "colour error, warped",
        "reconstruction/colour_error",
        "reconstruction/unwarped_colour_error",
    ),
)
# What the scale of a snippet can hide.
_DOUBTFUL = {
    "still": "are predicted not to move: their error is the true way",
    "backward": "have a negative scale: the opposite motion counts as right",
    "standing": "stand still: their error is 0 whatever is predicted",
}


def depth_table(metrics: Mapping[str, float]) -> Table:
    """Returns the seven metrics as the protocol asks, unscaled, and of object parts."""
    parts = {
        "depth": "protocol",
        "depth_unscaled": "unscaled",
        "moving": "moving",
        "static": "static",
    }
    chosen = [part for part in parts if f"{part}/abs_rel" in metrics]
    table: Table = [["metric", *(parts[part] for part in chosen)]]
    for name in depth_metrics.NAMES:
        values = [metrics[f"{part}/{name}"] for part in chosen]
        table.append([_DEPTH_ROWS[name], *values])
    filled = [None] * (len(chosen) - 1)
    for key, label in (
        ("depth/num_images", "images"),
        ("depth/num_skipped", "images without truth"),
        ("depth/scale_median", "scale, median"),
        ("depth/scale_std_over_median", "scale, std / median"),
        ("depth/scale_spread", "scale, std / mean"),
        ("moving/hole_rate", "moving: share > 3x too far"),
    ):
        if key in metrics:
            table.append([label, metrics[key], *filled])
    return table


def motion_table(metrics: Mapping[str, float]) -> Table:
    """Returns what is measured beside depth: the names of the columns alone if nothing.

    The last column tells what a constant velocity, all pixels moving, or no warp gives.
    """
    table: Table = [["metric", "reached", "without motion nets"]]
    for label, key, reference in _MOTION_ROWS:
        if key in metrics:
            beside = None if reference is None else metrics.get(reference)
            table.append([label, metrics[key], beside])
    return table


def depth_warnings(
    protocol: protocols.DepthProtocol, metrics: Mapping[str, float]
) -> list[str]:
    """Returns what keeps the numbers from being those of the protocol."""
    found = changed(protocol)
    images = int(metrics["depth/num_images"])
    skipped = int(metrics["depth/num_skipped"])
    if protocol.num_images not in (None, images + skipped):
        found.append(
            f"{images + skipped} images of the {protocol.num_images} of {protocol.name}:"
            " not comparable with published numbers"
        )
    if skipped:
        found.append(f"{skipped} images have no true depth that counts: left out")
    if metrics["depth/min_pixels"] < _FEW_PIXELS:
        found.append(
            f"an image has only {int(metrics['depth/min_pixels'])} true pixels that"
            " count; scaled by its median, it tells little"
        )
    if metrics["depth/correlation"] < 0:
        found.append(
            "predicted depth falls where true depth grows: are the predictions"
            " disparity, or in another order?"
        )
    return found


def odometry_table(
    metrics: Mapping[str, float], rows: Sequence[Mapping[str, Any]]
) -> Table:
    """Returns the main metrics, one row for each sequence and one for all of them.

    Args:
        metrics: flat, of all sequences.
        rows: metrics of each by name; left out where these are many.
    """
    total = {key.removeprefix("odometry/"): value for key, value in metrics.items()}
    name = rows[0]["name"] if len(rows) == 1 else "all"
    rows = [*(rows if 1 < len(rows) <= _MANY_ROWS else ()), {"name": name, **total}]
    chosen = [key for key in _ODOMETRY_COLUMNS if any(key in row for row in rows)]
    table: Table = [["sequence", *(_ODOMETRY_COLUMNS[key] for key in chosen)]]
    return table + [[row["name"], *(row.get(key) for key in chosen)] for row in rows]


def odometry_warnings(
    protocol: protocols.OdometryProtocol,
    rows: Sequence[Mapping[str, Any]],
    unpredicted: Sequence[str],
) -> list[str]:
    """Returns what was left out, and how the protocol was changed."""
    found = changed(protocol)
    if unpredicted:
        found.append(f"not predicted: {', '.join(unpredicted)}")
    for row in rows:
        if row["num_missing"]:
            found.append(
                f"{row['name']}: {row['num_missing']} of"
                f" {row['num_missing'] + row['num_frames']} frames are not predicted"
                " and left out"
            )
        for name, text in _DOUBTFUL.items():
            if row[f"num_{name}_snippets"]:
                found.append(
                    f"{row['name']}: {row[f'num_{name}_snippets']} of"
                    f" {row['num_snippets']} snippets {text}"
                )
        if protocol.alignment and not row["num_segments"]:
            found.append(
                f"{row['name']}: too short for a stretch of"
                f" {protocol.segment_lengths[0]} m: no t_err, no r_err"
            )
    return found


def alignment_table(metrics: Mapping[str, float]) -> Table:
    """Returns what every alignment makes of whole trajectories."""
    names = ("ate_rmse_m", "t_err_percent", "r_err_deg_per_100m", "rpe_m", "rpe_deg")
    table: Table = [["alignment", *(_ODOMETRY_COLUMNS[name] for name in names)]]
    for kind in alignment.KINDS:
        prefix = f"odometry/alignment_{kind}"
        if f"{prefix}/ate_rmse_m" in metrics:
            table.append([kind, *(metrics[f"{prefix}/{name}"] for name in names)])
    return table


def changed(protocol: protocols.Protocol) -> list[str]:
    """Returns a warning where a protocol is not quite that of its name."""
    changes = protocols.changes(protocol)
    if not changes:
        return []
    return [f"not the protocol {protocol.name} itself: {', '.join(changes)}"]


def records_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns rows of named values as a table, empty where a row has no such value."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([row.get(name) for name in names] for row in rows)]
