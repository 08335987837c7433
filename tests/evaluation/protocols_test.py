"""Protocols hold the numbers of the scripts that they are named after."""

import dataclasses
import math

import pytest

from mdm_jax.evaluation import protocols

NAMES = (
    "kitti_eigen",
    "kitti_eigen_improved",
    "cityscapes",
    "waymo",
    "nuscenes",
    "ddad",
    "make3d",
    "synthetic",
    "kitti_odometry_snippets",
    "kitti_odometry",
)


def test_all_protocols_are_there_and_name_their_source():
    assert tuple(protocols.PROTOCOLS) == NAMES
    for name, protocol in protocols.PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.source


def test_the_crop_of_garg_has_its_published_pixels():
    rows, columns = protocols.get("kitti_eigen").crop.slices((375, 1242))
    assert (rows, columns) == (slice(153, 371), slice(44, 1197))


def test_cityscapes_is_cut_as_published():
    protocol = protocols.get("cityscapes")
    rows, columns = protocol.view.slices(protocol.truth_size)
    assert (rows, columns) == (slice(0, 768), slice(0, 2048))
    rows, columns = protocol.crop.slices((768, 2048))
    assert (rows, columns) == (slice(256, 768), slice(192, 1856))


def test_make3d_keeps_its_middle_21_rows():
    protocol = protocols.get("make3d")
    rows, _ = protocol.view.slices(protocol.truth_size)
    assert rows == slice((55 - 21) // 2, (55 + 21) // 2)


@pytest.mark.parametrize(
    ("name", "cap"),
    [
        ("kitti_eigen", 80),
        ("kitti_eigen_improved", math.inf),
        ("cityscapes", 80),
        ("waymo", 80),
        ("nuscenes", 75),
        ("ddad", 200),
        ("make3d", 70),
        ("synthetic", 80),
    ],
)
def test_depth_bins_reach_from_zero_to_the_cap(name, cap):
    protocol = protocols.get(name)
    edges = protocol.range_edges()
    assert protocol.max_truth == cap
    assert edges[0] == 0 and edges[-1] == cap
    assert (edges[1:] > edges[:-1]).all()


def test_tables_show_every_setting_of_every_protocol():
    cells = {}
    for title, rows in protocols.tables().items():
        assert len({len(row) for row in rows}) == 1, title
        for column, name in enumerate(rows[0][1:], 1):
            cells[name] = {row[0]: row[column] for row in rows[1:]}
    assert set(cells) == set(NAMES)
    for name, settings in cells.items():
        assert settings == protocols.get(name).settings()


def test_every_field_that_moves_a_digit_is_shown():
    other = {
        "num_images": 3,
        "truth_size": (5, 7),
        "view": protocols.Box(top=1),
        "crop": protocols.Box(left=2),
        "min_truth": 0.5,
        "max_truth": 9.0,
        "min_clip": 0.5,
        "max_clip": 9.0,
        "resized": "disparity",
        "interpolation": "nearest",
        "median": "lower",
        "scaling": "none",
        "averaging": "pixels",
        "log10": True,
    }
    protocol = protocols.get("waymo")
    for field, value in other.items():
        changed = dataclasses.replace(protocol, **{field: value})
        assert changed.settings() != protocol.settings(), field
        assert len(protocols.changes(changed)) == 1
    assert not protocols.changes(protocol)


def test_unknown_names_and_values_are_refused():
    with pytest.raises(ValueError, match="'kiti' is none of kitti_eigen"):
        protocols.get("kiti")
    with pytest.raises(ValueError, match="scaling must be one of per_image"):
        dataclasses.replace(protocols.get("waymo"), scaling="median")
    with pytest.raises(ValueError, match="alignment must be one of none"):
        dataclasses.replace(protocols.get("kitti_odometry"), alignment="7dof")
