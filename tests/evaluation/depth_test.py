"""Depth evaluation against published figures, a slow loop, and its documented rules."""

import dataclasses
import json
import math
import tracemalloc

import numpy as np
import pytest

from mdm_jax.evaluation import (
    depth as depth_lib,
)
from mdm_jax.evaluation import (
    depth_comparison,
    map_files,
    protocols,
    true_depth,
)
from mdm_jax.evaluation.measures import depth_metrics
from mdm_jax.evaluation.report import caveats

EIGEN = protocols.get("kitti_eigen")
PLAIN = protocols.get("synthetic")


def _pixels(seed=0, count=50, moving=False):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 79, (1, count))
    depth = 0.1 * truth * rng.uniform(0.5, 2, (1, count))
    mask = rng.random((1, count)) < 0.3 if moving else None
    return depth_comparison.Compared(truth, depth, np.ones_like(truth, bool), mask)


def _evaluated(protocol, images, **options):
    evaluation = depth_lib.DepthEvaluation(protocol, **options)
    for i, pixels in enumerate(images):
        evaluation.add(str(i), pixels)
    return evaluation


def _slow(truth, depth):
    """The seven metrics, pixel by pixel."""
    rows = []
    for g, p in zip(truth.ravel().tolist(), depth.ravel().tolist(), strict=True):
        p = min(max(p, 1e-3), 80.0)
        ratio = max(g / p, p / g)
        row = [abs(g - p) / g, (g - p) ** 2 / g, (g - p) ** 2]
        row += [(math.log(g) - math.log(p)) ** 2]
        rows.append(row + [ratio < 1.25**power for power in (1, 2, 3)])
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    mean[2], mean[3] = math.sqrt(mean[2]), math.sqrt(mean[3])
    return dict(zip(depth_metrics.NAMES, mean, strict=True))


def _median(values):
    ordered = sorted(values.ravel().tolist())
    half = len(ordered) // 2
    return (ordered[half] + ordered[~half]) / 2


def test_metrics_equal_a_slow_loop_averaged_over_images():
    images = [_pixels(seed, 10 * seed + 11) for seed in range(3)]
    result = _evaluated(PLAIN, images).result()
    scaled = [
        _slow(p.truth, p.depth * _median(p.truth) / _median(p.depth)) for p in images
    ]
    unscaled = [_slow(p.truth, p.depth) for p in images]
    for part, want in (("depth", scaled), ("depth_unscaled", unscaled)):
        for name in depth_metrics.NAMES:
            mean = sum(one[name] for one in want) / 3
            assert result[f"{part}/{name}"] == pytest.approx(mean, rel=1e-10), name


def test_averaging_over_pixels_is_measuring_all_pixels_at_once():
    images = [_pixels(seed, 10 * seed + 11) for seed in range(3)]
    protocol = dataclasses.replace(PLAIN, averaging="pixels", scaling="none")
    result = _evaluated(protocol, images).result()
    want = _slow(*(np.concatenate([p[i] for p in images], axis=1) for i in (0, 1)))
    for name in depth_metrics.NAMES:
        assert result[f"depth/{name}"] == pytest.approx(want[name], rel=1e-10), name


def test_scales_that_differ_between_images_cost_only_without_scaling_each():
    images = [_pixels(seed) for seed in range(3)]
    other = [
        p._replace(depth=p.depth * factor)
        for p, factor in zip(images, (1, 7, 0.2), strict=True)
    ]
    first, second = (_evaluated(PLAIN, p).result() for p in (images, other))
    assert first["depth/abs_rel"] == pytest.approx(second["depth/abs_rel"])
    assert second["depth/scale_spread"] > first["depth/scale_spread"]
    protocol = dataclasses.replace(PLAIN, scaling="global")
    scale = float(np.median([depth_comparison.scale_of(PLAIN, p) for p in other]))
    fixed = _evaluated(protocol, other, scale=scale).result()
    assert fixed["depth/abs_rel"] > second["depth/abs_rel"] + 0.1


def test_spreads_of_the_scale_are_those_quoted():
    images = [_pixels(seed) for seed in range(4)]
    result = _evaluated(PLAIN, images).result()
    ratios = [_median(p.truth) / _median(p.depth) for p in images]
    assert result["depth/scale_median"] == pytest.approx(np.median(ratios))
    assert result["depth/scale_std_over_median"] == pytest.approx(
        np.std(ratios / np.median(ratios))
    )
    assert result["depth/scale_spread"] == pytest.approx(
        np.std(ratios) / np.mean(ratios)
    )


def test_moving_and_static_pixels_are_measured_apart_with_the_scale_of_all():
    p = _pixels(moving=True)
    result = _evaluated(PLAIN, [p]).result()
    scaled = p.depth * _median(p.truth) / _median(p.depth)
    for part, mask in (("moving", p.moving), ("static", ~p.moving)):
        want = _slow(p.truth[mask], scaled[mask])
        assert result[f"{part}/abs_rel"] == pytest.approx(want["abs_rel"])
    far = scaled[p.moving] > 3 * p.truth[p.moving]
    assert result["moving/hole_rate"] == pytest.approx(far.mean())


def test_objects_pushed_to_infinity_show_as_holes():
    p = _pixels(moving=True)
    holes = p._replace(depth=np.where(p.moving, 1e3, p.depth))
    assert _evaluated(PLAIN, [holes]).result()["moving/hole_rate"] == 1.0


def test_bins_hold_every_pixel_once():
    images = [_pixels(seed) for seed in range(2)]
    evaluation = _evaluated(PLAIN, images)
    result, bins = evaluation.result(), evaluation.by_range()
    assert sum(row["num_pixels"] for row in bins) == 100
    mean = sum(row["abs_rel"] * row["num_pixels"] for row in bins) / 100
    assert mean == pytest.approx(result["depth/abs_rel"])
    square = sum(row["rmse"] ** 2 * row["num_pixels"] for row in bins) / 100
    pooled = dataclasses.replace(PLAIN, averaging="pixels")
    assert math.sqrt(square) == pytest.approx(
        _evaluated(pooled, images).result()["depth/rmse"]
    )


def test_images_without_truth_are_left_out_and_counted():
    nothing = np.zeros((1, 0))
    empty = depth_comparison.Compared(nothing, nothing, nothing.astype(bool))
    images = [_pixels(0), empty, _pixels(1)]
    evaluation = _evaluated(PLAIN, images)
    result = evaluation.result()
    without = _evaluated(PLAIN, [images[0], images[2]]).result()
    assert result["depth/num_skipped"] == 1 and result["depth/num_images"] == 2
    assert result["depth/abs_rel"] == without["depth/abs_rel"]
    assert evaluation.rows[1] == {"name": "1", "pixels": 0}
    assert any("1 images" in w for w in caveats.of_depth(PLAIN, result))
    with pytest.raises(ValueError, match="none of 1 images"):
        _evaluated(PLAIN, [empty]).result()


def test_what_makes_a_number_doubtful_is_said():
    p = _pixels(count=3)
    result = _evaluated(EIGEN, [p._replace(depth=1 / p.truth)]).result()
    said = " | ".join(caveats.of_depth(EIGEN, result))
    for part in ("1 images of the 697", "only 3 true pixels", "disparity"):
        assert part in said
    changed = dataclasses.replace(PLAIN, scaling="none")
    assert "scaling=none" in caveats.of_depth(changed, result)[0]


def test_make3d_quotes_decimal_logarithms():
    p = _pixels()
    decimal = dataclasses.replace(PLAIN, log10=True)
    ratio = (
        _evaluated(decimal, [p]).result()["depth/rmse_log"]
        / _evaluated(PLAIN, [p]).result()["depth/rmse_log"]
    )
    assert ratio == pytest.approx(1 / math.log(10))


def test_global_scaling_without_a_scale_is_refused():
    with pytest.raises(ValueError, match="needs the scale"):
        _evaluated(dataclasses.replace(PLAIN, scaling="global"), [])


def _flat_ground():
    """The analytic prediction that the reference figures belong to."""
    rows = np.arange(375)
    with np.errstate(divide="ignore"):
        depth = np.where(rows > 173, 1.65 * 721.5377 / (rows - 172.854), 80)
    return np.repeat(np.clip(depth, 1e-3, 80)[:, None], 1242, axis=1)


def test_reference_figures_of_kitti_are_reproduced(sample_data):
    folder = sample_data / "kitti_raw_snippet"
    expected = json.loads((folder / "expected_depth_metrics.json").read_text())
    drive = folder / "2011_09_26" / "2011_09_26_drive_0001_sync"
    convert = true_depth.from_points((375, 1242), order="row_column_depth")
    lidar = drive / "lidar_sparse" / "image_02"
    truth = map_files.open_maps(lidar, convert=convert)
    flat = map_files.Maps(
        truth.names, truth.names, lambda _: _flat_ground(), named=True
    )
    evaluation = depth_lib.evaluate(EIGEN, depth_lib.Inputs(truth, flat, "depth"))
    unscaled = depth_lib.evaluate(
        dataclasses.replace(EIGEN, scaling="none"),
        depth_lib.Inputs(truth, flat, "depth"),
    )
    assert len(evaluation.rows) == len(expected["frames"]) == 3
    for row, plain in zip(evaluation.rows, unscaled.rows, strict=True):
        want = expected["frames"][row["name"]]
        assert row["pixels"] == want["valid_pixels"]
        assert row["scale"] == pytest.approx(want["median_ratio"], rel=1e-9)
        for got, key in ((row, "median_scaling"), (plain, "no_scaling")):
            for name, value in zip(expected["metric_names"], want[key], strict=True):
                assert got[name] == pytest.approx(value, rel=1e-9), name


def test_moving_objects_of_waymo_are_told_from_the_rest(sample_data):
    (folder,) = (sample_data / "waymo_snippet" / "val").glob("segment-1024*/FRONT")
    convert = true_depth.from_points((1280, 1920), order="x_y_depth")
    truth = map_files.open_maps(folder / "depth" / "000001.npy", convert=convert)
    labels = map_files.open_maps(folder / "mask" / "000001_motion.png", labels=True)
    inputs = depth_lib.Inputs(
        truth,
        map_files.Maps(["0"], ["0"], lambda _: np.ones((64, 96)), named=False),
        labels=labels,
        moving_labels=(1,),
    )
    pixels = inputs.compared(protocols.get("waymo"), 0).pixels()
    # 7 of 20460 pixels hold several returns; 925 returns are on moving pixels.
    assert pixels.truth.size == 20460
    assert 900 < pixels.moving.sum() <= 925


def test_memory_does_not_grow_with_the_number_of_images():
    def peak(count):
        rng = np.random.default_rng(0)
        names = [str(i) for i in range(count)]
        maps = map_files.Maps(
            names, names, lambda _: rng.uniform(1, 70, (150, 200)), named=True
        )
        tracemalloc.start()
        depth_lib.evaluate(PLAIN, depth_lib.Inputs(maps, maps)).result()
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(2)
    assert peak(24) < peak(3) + 150 * 200 * 8
