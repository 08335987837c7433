"""Maps are read from every form alike, paired by name, and mistakes are named."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.evaluation import map_files, true_depth


def _maps(count=3, size=(5, 7), seed=0):
    return np.random.default_rng(seed).integers(1, 60000, (count, *size)) / 256


def _folder(folder, maps, form, names=None):
    folder.mkdir()
    for name, values in zip(names or range(len(maps)), maps, strict=True):
        path = folder / f"{name}.{form}"
        if form == "npy":
            np.save(path, values)
        elif form == "npz":
            np.savez(path, depth=values)
        else:
            cv2.imwrite(str(path), np.rint(256 * values).astype(np.uint16))
    return folder


def _all(maps):
    return [maps.read(i) for i in range(len(maps))]


@pytest.mark.parametrize("form", ["npy", "npz", "png"])
def test_a_folder_of_any_form_holds_the_same_maps_in_natural_order(tmp_path, form):
    maps = _maps(12)
    read = map_files.open_maps(_folder(tmp_path / "maps", maps, form))
    assert list(read.names) == [str(i) for i in range(12)]
    np.testing.assert_array_equal(_all(read), maps)


def test_stacks_and_archives_hold_the_same_maps(tmp_path):
    maps = _maps()
    np.save(tmp_path / "stack.npy", maps)
    np.save(tmp_path / "channel.npy", maps[:, None])
    np.savez_compressed(tmp_path / "stack.npz", data=maps)
    np.savez(tmp_path / "keys.npz", a=maps[0], b=maps[1], c=maps[2])
    for name in ("stack.npy", "channel.npy", "stack.npz", "keys.npz"):
        read = map_files.open_maps(tmp_path / name)
        np.testing.assert_array_equal(_all(read), maps)
        assert read.named == (name == "keys.npz")


def test_one_map_is_a_stack_of_one(tmp_path):
    maps = _maps(1)
    np.save(tmp_path / "one.npy", maps[0])
    cv2.imwrite(str(tmp_path / "one.png"), np.rint(256 * maps[0]).astype(np.uint16))
    for name in ("one.npy", "one.png"):
        np.testing.assert_array_equal(_all(map_files.open_maps(tmp_path / name)), maps)


def test_maps_of_different_sizes_need_trust_in_the_file(tmp_path):
    maps = np.empty(2, object)
    maps[:] = [np.ones((5, 7)), np.ones((6, 9))]
    np.save(tmp_path / "a.npy", maps)
    np.savez(tmp_path / "a.npz", data=maps)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=rf"{name}: .*run any code"):
            map_files.open_maps(tmp_path / name)
        read = map_files.open_maps(tmp_path / name, allow_pickle=True)
        assert [m.shape for m in _all(read)] == [(5, 7), (6, 9)]


def test_what_is_no_map_is_named(tmp_path):
    np.save(tmp_path / "flat.npy", np.ones(4))
    np.save(tmp_path / "colour.npy", np.ones((2, 5, 7, 3)))
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    (tmp_path / "empty").mkdir()
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((5, 7, 3), np.uint8))
    with pytest.raises(ValueError, match=r"flat\.npy: expected maps"):
        map_files.open_maps(tmp_path / "flat.npy")
    with pytest.raises(ValueError, match=r"colour\.npy\[0\]: expected one map"):
        map_files.open_maps(tmp_path / "colour.npy").read(0)
    with pytest.raises(ValueError, match=r"broken\.npz"):
        map_files.open_maps(tmp_path / "broken.npz")
    with pytest.raises(ValueError, match="empty: no file"):
        map_files.open_maps(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"picture\.png: expected a 16-bit PNG"):
        map_files.open_maps(tmp_path / "picture.png").read(0)
    with pytest.raises(FileNotFoundError, match="nothing"):
        map_files.open_maps(tmp_path / "nothing.npy")


def test_labels_may_be_pictures_of_bytes(tmp_path):
    labels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    cv2.imwrite(str(tmp_path / "a.png"), labels)
    read = map_files.open_maps(tmp_path / "a.png", labels=True)
    np.testing.assert_array_equal(read.read(0), labels)


def test_maps_with_names_are_paired_by_them(tmp_path):
    maps = _maps()
    truth = map_files.open_maps(_folder(tmp_path / "t", maps, "npy", ["x", "b", "c"]))
    found = map_files.open_maps(_folder(tmp_path / "p", maps, "png", ["x", "b", "c"]))
    paired = map_files.paired(found, truth)
    np.testing.assert_array_equal(_all(paired), _all(truth))
    # In other folders than the truth, too.
    (tmp_path / "q").mkdir()
    _folder(tmp_path / "q" / "deep", maps, "npz", ["x", "b", "c"])
    paired = map_files.paired(map_files.open_maps(tmp_path / "q"), truth)
    np.testing.assert_array_equal(_all(paired), _all(truth))


def test_missing_and_needless_predictions_are_named(tmp_path):
    maps = _maps()
    truth = map_files.open_maps(_folder(tmp_path / "t", maps, "npy", "abc"))
    few = map_files.open_maps(_folder(tmp_path / "f", maps[:2], "npy", "ac"))
    with pytest.raises(ValueError, match=r"b\.npy: this true depth map has no pred"):
        map_files.paired(few, truth)
    many = map_files.open_maps(_folder(tmp_path / "m", _maps(4), "npy", "abcd"))
    with pytest.raises(ValueError, match=r"d\.npy: this prediction has no true"):
        map_files.paired(many, truth)
    other = map_files.open_maps(_folder(tmp_path / "o", maps, "npy", "xyz"))
    with pytest.raises(ValueError, match="or pair them in order"):
        map_files.paired(other, truth)
    np.testing.assert_array_equal(
        _all(map_files.paired(other, truth, by_order=True)), maps
    )


def test_stacks_of_other_counts_are_refused_and_indices_choose(tmp_path):
    maps = _maps(5)
    np.save(tmp_path / "p.npy", maps)
    np.save(tmp_path / "t.npy", maps[[4, 0]])
    stack, truth = (map_files.open_maps(tmp_path / f"{n}.npy") for n in "pt")
    with pytest.raises(ValueError, match=r"5 predictions .* for 2 true depth maps"):
        map_files.paired(stack, truth)
    chosen = map_files.paired(stack.chosen([4, 0]), truth)
    np.testing.assert_array_equal(_all(chosen), maps[[4, 0]])
    assert list(chosen.places) == [f"{tmp_path}/p.npy[4]", f"{tmp_path}/p.npy[0]"]
    with pytest.raises(ValueError, match="index 5 is not one of 5"):
        stack.chosen([5])


def test_the_nearest_point_of_a_pixel_counts():
    points = np.array([[1, 2, 9.0], [1.9, 2.5, 4.0], [0, 6, 3.0]])
    convert = true_depth.from_points((3, 7), order="row_column_depth")
    want = np.zeros((3, 7))
    want[1, 2], want[0, 6] = 4.0, 3.0
    np.testing.assert_array_equal(convert(points, "a"), want)
    turned = true_depth.from_points((3, 7), order="x_y_depth")
    np.testing.assert_array_equal(turned(points[:, [1, 0, 2]], "a"), want)
    with pytest.raises(ValueError, match="a: point 2 is at row 6, column 0"):
        turned(points, "a")
    with pytest.raises(ValueError, match=r"a: expected points \[n 3\]"):
        convert(points[:, :2], "a")
    with pytest.raises(ValueError, match="row_column_depth or x_y_depth"):
        true_depth.from_points((3, 7), order="uvz")


def test_disparity_of_cityscapes_becomes_depth(tmp_path):
    camera = {"intrinsic": {"fx": 2262.5}, "extrinsic": {"baseline": 0.2}}
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera" / "aachen_0_camera.json").write_text(json.dumps(camera))
    values = np.array([[0, 1, 257, 5121]], np.uint16)
    (tmp_path / "disparity").mkdir()
    cv2.imwrite(str(tmp_path / "disparity" / "aachen_0_disparity.png"), values)
    convert = true_depth.from_cityscapes(tmp_path / "camera")
    read = map_files.open_maps(
        tmp_path / "disparity", png_unit=1, convert=convert
    ).read(0)
    # Depth = baseline * fx / ((p - 1) / 256).
    np.testing.assert_allclose(read, [[0, 0, 0.2 * 2262.5, 0.2 * 2262.5 / 20]])
    with pytest.raises(ValueError, match="has no bonn_1_camera"):
        convert(values, "x/bonn_1_disparity.png")
    (tmp_path / "camera" / "aachen_0_camera.json").write_text("{}")
    with pytest.raises(ValueError, match=r"expected intrinsic\.fx"):
        convert(values, "aachen_0_disparity.png")
