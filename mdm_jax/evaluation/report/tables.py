"""Tables of metrics for people; the first row of each holds the column headings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mdm_jax.evaluation import alignment
from mdm_jax.evaluation.report import metric_labels

Table = list[list[Any]]

# Of more sequences than this, the table shows the mean alone.
_MAX_SEQUENCES = 15
_DEPTH_PARTS = {
    "depth": "protocol",
    "depth_unscaled": "unscaled",
    "moving": "moving",
    "static": "static",
}
_DEPTH_COUNTS = {
    "depth/num_images": "images",
    "depth/num_skipped": "images without truth",
    "depth/scale_median": "scale, median",
    "depth/scale_std_over_median": "scale, std / median",
    "depth/scale_spread": "scale, std / mean",
    "moving/hole_rate": metric_labels.DRIVES["moving/hole_rate"].text(),
}


def depth_table(metrics: Mapping[str, float]) -> Table:
    """Returns the depth metrics by the protocol, without scaling, and of parts."""
    parts = [part for part in _DEPTH_PARTS if f"{part}/abs_rel" in metrics]
    table: Table = [["metric", "better", *(_DEPTH_PARTS[part] for part in parts)]]
    for name, label in metric_labels.DEPTH.items():
        values = [metrics[f"{part}/{name}"] for part in parts]
        table.append([label.text(), label.better, *values])
    empty = [None] * (len(parts) - 1)
    for key, title in _DEPTH_COUNTS.items():
        if key in metrics:
            table.append([title, None, metrics[key], *empty])
    return table


def drives_table(metrics: Mapping[str, float], *, with_depth: bool = True) -> Table:
    """Returns the metrics of drives beside their baselines.

    A baseline is the best guess that uses no image or no motion: a fixed depth map, a
    constant velocity, calling all pixels moving, or the unwarped source frame. Without
    depth, metrics of whole depth maps that have no baseline are left out.
    """
    table: Table = [["metric", "better", "result", "baseline"]]
    for key, label in metric_labels.DRIVES.items():
        value, baseline = metrics.get(key, math.nan), metrics.get(label.baseline)
        wanted = with_depth or label.baseline or not key.startswith("depth/")
        if wanted and not math.isnan(value):
            table.append([label.text(), label.better, value, baseline])
    return table


def odometry_table(
    metrics: Mapping[str, float], rows: Sequence[Mapping[str, Any]]
) -> Table:
    """Returns the main metrics of each sequence and of all.

    Args:
        metrics: of all sequences, by key.
        rows: metrics of each sequence by name.
    """
    total = {key.removeprefix("odometry/"): value for key, value in metrics.items()}
    name = rows[0]["name"] if len(rows) == 1 else "all"
    shown = rows if 1 < len(rows) <= _MAX_SEQUENCES else ()
    rows = [*shown, {"name": name, **total}]
    chosen = [key for key in metric_labels.ODOMETRY if any(key in row for row in rows)]
    table: Table = [["sequence", *map(metric_labels.column, chosen)]]
    return table + [[row["name"], *map(row.get, chosen)] for row in rows]


def alignment_table(metrics: Mapping[str, float]) -> Table:
    """Returns the errors of whole trajectories with every alignment."""
    names = ("ate_rmse_m", "t_err_percent", "r_err_deg_per_100m", "rpe_m", "rpe_deg")
    table: Table = [["alignment", *map(metric_labels.column, names)]]
    for kind in alignment.KINDS:
        prefix = f"odometry/alignment_{kind}"
        if f"{prefix}/ate_rmse_m" in metrics:
            table.append([kind, *(metrics[f"{prefix}/{name}"] for name in names)])
    return table


def records_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns rows of named values as a table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [
        list(map(metric_labels.column, names)),
        *(list(map(row.get, names)) for row in rows),
    ]
