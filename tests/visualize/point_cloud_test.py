"""Point clouds are read by others as they were written."""

import numpy as np

from mdm_jax.geometry import points as points_lib
from mdm_jax.visualize import point_cloud

K = np.array([[8.0, 0, 2.5], [0, 9.0, 1], [0, 0, 1]])


def _read(path):
    """Returns points and colours of a binary PLY, by its header alone."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    types = {"float": "<f4", "uchar": "u1"}
    fields = [line.split()[1:] for line in lines if line.startswith("property")]
    dtype = np.dtype([(name, types[kind]) for kind, name in fields])
    (count,) = (int(x.split()[2]) for x in lines if x.startswith("element vertex"))
    records = np.frombuffer(body, dtype)
    assert len(records) == count
    points = np.stack([records[axis] for axis in "xyz"], axis=-1)
    return points, np.stack([records[c] for c in ("red", "green", "blue")], axis=-1)


def test_known_points_come_back_with_their_colours(tmp_path):
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (3, 6))
    colors = rng.integers(0, 255, (3, 6, 3), np.uint8)
    known = rng.uniform(size=(3, 6)) > 0.3
    points = points_lib.unproject(depth, K)
    path = tmp_path / "a.ply"
    point_cloud.write_ply(path, points, colors, known, comment="in\nmetres")
    got, got_colors = _read(path)
    np.testing.assert_allclose(got, points[known], rtol=1e-6)
    np.testing.assert_array_equal(got_colors, colors[known])
