"""A report is whole: numbers that read back, and a page that needs no other file."""

import base64
import csv
import dataclasses
import html.parser
import json
import math
import re

import cv2
import numpy as np
import pytest

from mdm_jax.evaluation import protocols
from mdm_jax.evaluation.report import page as page_lib


def _picture(seed=0, size=(5, 7)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def _write(folder, sections=(), warnings=()):
    protocol = protocols.get("kitti_eigen_improved")
    report = page_lib.Report(
        protocol=dataclasses.replace(protocol, name="A <title> & more"),
        metrics={"depth/abs_rel": 0.25, "depth/num_images": 3, "odometry/x": math.nan},
        rows=[{"name": "a,b", "abs_rel": 0.5}, {"name": "c", "hole_rate": 1.0}],
        tables={"Result": [["metric", "value"], ["b < 1", 0.5]]},
        warnings=warnings,
        sections=lambda: sections,
    )
    return page_lib.write(folder, report, command="--flag=<x>")


def test_numbers_read_back(tmp_path):
    _write(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == {
        "depth/abs_rel": 0.25,
        "depth/num_images": 3,
        "odometry/x": None,
    }
    protocol = json.loads((folder / "protocol.json").read_text())
    assert protocol["name"] == "A <title> & more"
    assert protocol["num_images"] == 652 and protocol["max_truth"] is None
    with open(folder / "per_image.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"name": "a,b", "abs_rel": "0.5", "hole_rate": ""},
        {"name": "c", "abs_rel": "", "hole_rate": "1.0"},
    ]
    names = {path.name for path in folder.iterdir()}
    assert names == {"metrics.json", "protocol.json", "per_image.csv", "report.html"}


def test_pictures_are_inside_the_page(tmp_path):
    pictures = {"one": _picture(0), "two": _picture(1, (6, 11))}
    page = _write(tmp_path, [page_lib.Section("Pictures", pictures=pictures)])
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'src="data:image/png;base64,([^"]*)"', text)
    assert len(found) == 2
    for data, picture in zip(found, pictures.values(), strict=True):
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1)
        np.testing.assert_array_equal(decoded[..., ::-1], picture)
    assert not re.search(r"(src|href)=\"(?!data:)", text)


class _Checker(html.parser.HTMLParser):
    """Collects text, and checks that what is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())


def test_the_page_is_well_formed_and_shows_text_as_it_is(tmp_path):
    section = page_lib.Section(
        "A < B",
        text=["x & y"],
        table=[["metric", "value"], ["a < 1.25", 0.123456], ["empty", None]],
        pictures={"caption > all": _picture()},
    )
    checker = _Checker()
    checker.feed(
        _write(tmp_path, [section], ["only <3> images"]).read_text(encoding="utf-8")
    )
    assert not checker.open
    for text in (
        "Evaluation: A <title> & more",
        "A < B",
        "x & y",
        "only <3> images",
        "a < 1.25",
        "0.1235",
        "caption > all",
    ):
        assert text in checker.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (3, "3"),
        (3.0, "3.0000"),
        (0.0, "0.0000"),
        (0.31791, "0.3179"),
        (17.3136844, "17.3137"),
        (1.234e-5, "1.23e-05"),
        (math.nan, "–"),
        ("a", "a"),
    ],
)
def test_cells_show_what_is_quoted(value, text):
    assert page_lib.cell(value) == text
