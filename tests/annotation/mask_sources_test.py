"""Tests of mask sources: files, callables, and what is said where a package is missing."""

import pathlib
import sys
import types

import cv2
import numpy as np
import pytest

from mdm_jax.annotation import mask_rcnn, mask_sources
from mdm_jax.files.errors import DataError
from mdm_jax.flow import callables, raft
from mdm_jax.flow.video_frame import Frame
from mdm_jax.masks import instances
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.sources.source import Source

H, W = 6, 9
FRAME = Frame(1, "000001", np.zeros((H, W, 3), np.uint8))


class _Video(Source):
    def image(self, index):
        return np.zeros((*self.size, 3), np.uint8)


def _create(root, **options):
    files = (pathlib.Path("000000.png"), pathlib.Path("000001.png"))
    masks = MaskSet(root=str(root), alone=True)
    video = _Video("drive", files, (H, W), None)
    return mask_sources.create(masks, video, **options)


def _write(folder, values):
    folder.mkdir(parents=True)
    for i in range(2):
        cv2.imwrite(str(folder / f"{i:06d}.png"), np.asarray(values, np.uint8))


def test_files_are_read_by_frame_with_classes_from_class_maps(tmp_path):
    labels, classes = np.zeros((2, H, W), np.uint8)
    labels[1:3, 2:6], labels[4, 1:4] = 1, 5
    classes[1:3], classes[4], classes[1, 2] = 26, 24, 7
    _write(tmp_path / "masks", labels)
    _write(tmp_path / "classes" / "drive", classes)
    source = _create(tmp_path / "masks", class_maps=str(tmp_path / "classes"))
    found = source(FRAME)
    np.testing.assert_array_equal(found.ids, [1, 5])
    np.testing.assert_array_equal(found.classes, [26, 24])


def test_missing_class_maps_are_named(tmp_path):
    _write(tmp_path / "masks", np.ones((H, W)))
    (tmp_path / "classes").mkdir()
    with pytest.raises(DataError, match=r"classes: 2 of 2 frames have no class map"):
        _create(tmp_path / "masks", class_maps=str(tmp_path / "classes"))


@pytest.fixture
def module(monkeypatch):
    module = types.ModuleType("my_masks")
    module.plain = lambda frame: np.ones((2, *frame.image.shape[:2]))
    module.full = lambda frame: instances.create(
        np.ones((1, H, W), bool), classes=np.array([frame.index])
    )
    module.small = lambda frame: np.ones((1, H, W - 1))
    module.flat = lambda frame: np.ones((H, W))
    module.number = 3
    monkeypatch.setitem(sys.modules, "my_masks", module)
    return module


def test_callables_give_masks_or_instances(module):
    assert len(_create("call:my_masks.plain")(FRAME)) == 2
    np.testing.assert_array_equal(_create("call:my_masks.full")(FRAME).classes, [1])


@pytest.mark.parametrize(
    ("name", "problem"), [("small", r"\(6, 8\)"), ("flat", r"bool \[k h w\]")]
)
def test_what_callables_give_is_checked(module, name, problem):
    with pytest.raises(ValueError, match=rf"my_masks\.{name}.*{problem}"):
        _create(f"call:my_masks.{name}")(FRAME)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("flat", "package.module.function"),
        ("my_masks.absent", "no function absent"),
        ("my_masks.number", "no function number"),
        ("no_such_module_here.f", "cannot import no_such_module_here"),
    ],
)
def test_names_of_no_function_are_errors(module, name, problem):
    with pytest.raises(ValueError, match=problem):
        callables.load(name)


@pytest.mark.parametrize("network", [mask_rcnn, raft])
def test_networks_name_the_extra_where_torchvision_is_missing(
    tmp_path, monkeypatch, network
):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"mdm_jax\[annotate\]"):
        network.load(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "fields",
    [
        {"masks": np.ones((2, H, W))},
        {"masks": np.ones((H, W), bool)},
        {"masks": np.ones((2, H, W), bool), "ids": np.ones(3)},
        {"masks": np.ones((2, H, W), bool), "scores": np.ones((2, 1))},
    ],
)
def test_instances_whose_arrays_do_not_fit_are_errors(fields):
    with pytest.raises(ValueError, match="expect"):
        instances.create(**fields)
