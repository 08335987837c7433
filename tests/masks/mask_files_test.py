"""Tests of mask files: every form gives the same instances, or an error with its name."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.files.errors import DataError
from mdm_jax.masks import frame_names, labels, mask_files
from mdm_jax.masks.mask_set import MaskSet

H, W, N = 12, 17, 3
NAMES = [f"{i:06d}" for i in range(N)]
SIZE = (H, W)


def _labels():
    """Car 1001 in all frames, car 1002 and pedestrian 2001 in some."""
    labels = np.zeros((N, H, W), np.uint16)
    labels[:, 2:6, 3:8] = 1001
    labels[1:, 7:10, 10:15] = 1002
    labels[0, 8:11, 1:3] = 2001
    return labels


def _runs(mask):
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([edges, [len(flat)]])
    return np.diff(np.concatenate([[1], ends])).tolist()


def _write_png(folder, labels, names=NAMES):
    folder.mkdir(parents=True)
    for name, values in zip(names, labels, strict=True):
        assert cv2.imwrite(str(folder / f"{name}.png"), values)
    return folder


def _write_npz(folder, labels):
    folder.mkdir(parents=True)
    for name, values in zip(NAMES, labels, strict=True):
        ids = np.unique(values[values > 0])
        np.savez(
            folder / f"{name}.npz",
            masks=values[None] == ids[:, None, None],
            ids=ids,
            classes=ids // 1000,
        )
    return folder


def _annotations(labels, **fields):
    return [
        {
            "image_id": i,
            "category_id": int(label) // 1000,
            "segmentation": {"size": [H, W], "counts": _runs(labels[i] == label)},
            **{name: value(int(label)) for name, value in fields.items()},
        }
        for i in range(N)
        for label in np.unique(labels[i][labels[i] > 0])
    ]


def _write_coco(path, labels):
    content = {
        "images": [{"id": i, "file_name": f"a/{n}.jpg"} for i, n in enumerate(NAMES)],
        "annotations": _annotations(labels, track_id=lambda label: label),
    }
    path.write_text(json.dumps(content))
    return path


def _write_stack(path, labels):
    np.savez(path, labels=labels)
    return path


def _open(path, **options):
    return mask_files.open_masks(path, NAMES, size=SIZE, **options)


@pytest.mark.parametrize(
    ("write", "name", "classes"),
    [
        (_write_png, "png", True),
        (_write_npz, "npz", True),
        (_write_coco, "masks.json", True),
        (_write_stack, "masks.npz", False),
    ],
)
def test_every_form_gives_the_same_instances(tmp_path, write, name, classes):
    labels = _labels()
    masks = _open(write(tmp_path / name, labels))
    assert masks.tracked
    for i in range(N):
        found = masks.read(i)
        ids = np.unique(labels[i][labels[i] > 0])
        order = np.argsort(found.ids)
        np.testing.assert_array_equal(found.ids[order], ids)
        np.testing.assert_array_equal(
            found.masks[order], labels[i][None] == ids[:, None, None]
        )
        expected = ids // 1000 if classes else np.full(len(ids), -1)
        np.testing.assert_array_equal(found.classes[order], expected)


def test_results_without_images_are_found_by_frame_number(tmp_path):
    labels = _labels()
    rows = _annotations(labels, score=lambda label: label / 3000)
    path = tmp_path / "results.json"
    path.write_text(json.dumps([row for row in rows if row["image_id"] != 1]))
    masks = _open(path)
    assert not masks.tracked
    assert len(masks.read(1)) == 0
    found = masks.read(2)
    np.testing.assert_array_equal(found.ids, [1, 2])
    np.testing.assert_allclose(found.scores, [1001 / 3000, 1002 / 3000])


def test_values_below_1000_are_classes_where_said_so_and_10000_is_ignored(tmp_path):
    labels = _labels()
    labels[:, 0] = 7
    labels[:, 11] = 10_000
    path = _write_png(tmp_path / "png", labels)
    found = _open(path, coding="class_id").read(1)
    np.testing.assert_array_equal(found.ids, [1001, 1002])
    found = _open(path, coding="plain").read(1)
    np.testing.assert_array_equal(found.ids, [7, 1001, 1002, 10_000])
    with pytest.raises(DataError, match=r"000001\.png.*mask_coding"):
        _open(path).read(1)


@pytest.mark.parametrize(("small", "large"), [(0, 2), (2, 0)])
def test_a_frame_of_small_values_is_read_in_the_coding_of_the_folder(
    tmp_path, small, large
):
    labels = np.zeros((N, H, W), np.uint16)
    labels[small, 2:5] = 7
    labels[large, 2:5] = 1001
    path = _write_png(tmp_path / "png", labels)
    with pytest.raises(DataError, match=rf"00000{small}\.png.*00000{large}\.png"):
        _open(path).read(small)
    # Of a part of the recording, too.
    part = mask_files.open_masks(path, [NAMES[small]], size=SIZE)
    with pytest.raises(DataError, match="mask_coding=plain or mask_coding=class_id"):
        part.read(0)
    np.testing.assert_array_equal(_open(path).read(large).ids, [1001])
    assert len(_open(path).read(1)) == 0
    np.testing.assert_array_equal(_open(path, coding="plain").read(small).ids, [7])
    assert len(_open(path, coding="class_id").read(small)) == 0


def test_another_background_value_leaves_0_to_an_object(tmp_path):
    labels = np.full((N, H, W), 255, np.uint8)
    labels[:, 2:5, 3:6] = 0
    found = _open(_write_png(tmp_path / "png", labels), background=255).read(0)
    np.testing.assert_array_equal(found.ids, [0])
    np.testing.assert_array_equal(found.masks[0], labels[0] == 0)


def test_equal_channels_are_one_and_colours_are_an_error(tmp_path):
    labels = _labels().clip(max=3).astype(np.uint8)
    grey = _write_png(tmp_path / "grey", np.stack([labels] * 3, axis=-1))
    np.testing.assert_array_equal(_open(grey).read(0).ids, [3])
    coloured = np.stack([labels, labels, 2 * labels], axis=-1)
    path = _write_png(tmp_path / "colour", coloured)
    with pytest.raises(DataError, match=r"000000\.png.*colours"):
        _open(path).read(0)


def test_colours_of_a_palette_are_ids(tmp_path):
    image = pytest.importorskip("PIL.Image")
    values = np.zeros((H, W), np.uint8)
    values[1:4, 2:5], values[6:9, 7:9] = 1, 2
    (tmp_path / "png").mkdir()
    for name in NAMES:
        picture = image.fromarray(values, mode="P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        picture.save(tmp_path / "png" / f"{name}.png")
    found = _open(tmp_path / "png").read(1)
    np.testing.assert_array_equal(found.ids, [128 << 8, 128 << 16])
    np.testing.assert_array_equal(found.masks[1], values == 1)


def test_masks_of_another_size_are_an_error_that_names_the_file(tmp_path):
    labels = _labels()[:, :, :-2]
    for write, name in ((_write_png, "png"), (_write_npz, "npz")):
        with pytest.raises(DataError, match=r"000001\.(png|npz).*12x17"):
            _open(write(tmp_path / name, labels)).read(1)
    with pytest.raises(DataError, match=r"m\.npz.*12x17"):
        _open(_write_stack(tmp_path / "m.npz", labels))
    path = _write_coco(tmp_path / "m.json", _labels())
    with pytest.raises(DataError, match=r"m\.json.*annotation 0.*13x17"):
        mask_files.open_masks(path, NAMES, size=(H + 1, W)).read(0)


def test_frames_without_masks_are_an_error_that_names_them(tmp_path):
    path = _write_png(tmp_path / "png", _labels())
    (path / "000001.png").unlink()
    with pytest.raises(DataError, match=r"png: 1 of 3 frames have no masks: 000001\."):
        _open(path)


def test_broken_json_is_an_error_that_names_the_place(tmp_path):
    def fails(content, problem):
        path = tmp_path / "m.json"
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=problem) as error:
            _open(path).read(0)
        assert "m.json" in str(error.value)

    rows = _annotations(_labels(), track_id=lambda label: label)
    fails([{**rows[0], "segmentation": [[1, 2, 3, 4]]}], "polygons")
    fails([{**rows[0], "segmentation": {"size": [H, W], "counts": [5]}}], "add up to 5")
    fails([{**rows[0], "track_id": 1 << 40}], "ids range from 0")
    fails([{**rows[0], "track_id": "one"}], "integer")
    fails([rows[0], rows[0]], "two masks have the id 1001")
    fails({"images": [], "annotations": 3}, "list of annotations")
    fails([{"image_id": 0}], "segmentation")
    (tmp_path / "m.json").write_text('[{"image_id": 0')
    with pytest.raises(DataError, match=r"m\.json.*cut off or damaged"):
        _open(tmp_path / "m.json")


def test_broken_mots_text_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text(f"0 1001 1 {H} {W} 0\n1 1001 1 {H} {W}\n")
    with pytest.raises(DataError, match=r"m\.txt: line 2: expected 'frame id class"):
        _open(path)


def test_masks_are_found_in_the_usual_places(tmp_path):
    labels = _labels()
    places = ["a/drive/instances", "b/drive", "c/instances/drive", "d"]
    for place in places:
        expected = _write_png(tmp_path / place, labels)
        root = tmp_path / place.split("/")[0]
        assert MaskSet(root=str(root), alone=True).find("drive") == expected
    coco = tmp_path / "e" / "drive.json"
    coco.parent.mkdir()
    assert (
        MaskSet(root=str(coco.parent.parent / "d"), alone=True).find("other")
        == tmp_path / "d"
    )
    _write_coco(coco, labels)
    assert MaskSet(root=str(tmp_path / "e")).find("drive") == coco
    with pytest.raises(DataError, match="no instance masks of the recording 'drive'"):
        MaskSet(root=str(tmp_path / "d")).find("drive")
    with pytest.raises(DataError, match=r"no such folder.*mdm_jax\.annotate"):
        MaskSet(root=str(tmp_path / "none"), alone=True).find("drive")
    with pytest.raises(DataError, match="several recordings"):
        MaskSet(root=str(coco)).find("drive")


def test_a_folder_of_two_forms_or_none_is_an_error(tmp_path):
    path = _write_png(tmp_path / "png", _labels())
    (path / "extra.npz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"one format.*\.png and \.npz"):
        _open(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got none"):
        _open(tmp_path / "empty")


def test_overlapping_masks_are_an_error_that_names_both(tmp_path):
    masks = np.zeros((2, H, W), bool)
    masks[0, 2:6, 3:9], masks[1, 5:8, 7:12] = True, True
    for name in NAMES:
        np.savez(tmp_path / f"{name}.npz", masks=masks, ids=[4, 9])
    opened = _open(tmp_path)
    with pytest.raises(DataError, match=r"000002\.npz: instances 4 and 9 overlap.*2 p"):
        labels.check_disjoint(opened.read(2), opened.file_of_frame[2])


def test_frames_and_masks_are_matched_by_name_then_by_number():
    names = [f"town_000003_{i:06d}_left8bit" for i in (2, 3, 10)]
    keys = [f"town_000003_{i:06d}_mask" for i in (3, 10, 2, 4)]
    assert frame_names.match(names, keys) == [keys[2], keys[0], keys[1]]
    assert frame_names.match(names, ["2", "3", "10"]) == ["2", "3", "10"]
    assert frame_names.match(["a", "b"], ["b", "c"]) == [None, "b"]
    assert frame_names.match(["7", "8"], ["7", "8", "x8"]) == ["7", "8"]
    # Two masks of one number belong to nobody.
    assert frame_names.match(["f1", "f2"], ["1_1", "01_01"]) == [None, None]


# Sample data.


def test_mots_png_and_text_of_the_sample_agree(sample_data):
    root = sample_data / "masks" / "mots_style"
    names, size = ["000000", "000003"], (1024, 2048)
    png = mask_files.open_masks(
        MaskSet(root=str(root), alone=True).find("0003"), names, size=size
    )
    text = mask_files.open_masks(root / "instances_txt" / "0003.txt", names, size=size)
    for i, count in enumerate((7, 9)):
        one, other = png.read(i), text.read(i)
        order = np.argsort(other.ids)
        assert len(one) == count
        np.testing.assert_array_equal(one.ids, other.ids[order])
        np.testing.assert_array_equal(one.classes, other.classes[order])
        np.testing.assert_array_equal(one.masks, other.masks[order])
