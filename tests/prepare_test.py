"""The command that prepares data: what it prints, and how it names mistakes."""

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def prepare(tmp_path, import_command):
    """Runs the command on five frames, with further flags."""
    command, values = import_command("prepare")
    rng = np.random.default_rng(0)
    folder = tmp_path / "drive"
    folder.mkdir()
    for index in range(5):
        image = rng.integers(0, 256, (40, 52, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), image)

    def run(*words, name="video"):
        values(
            [
                "prepare",
                f"--source={folder}",
                f"--data_dir={tmp_path / 'out'}",
                "--intrinsics=fov:60",
                "--size=32x48",
                "--num_processes=1",
                *words,
            ]
        )
        command.main(["prepare", name])
        return tmp_path / "out" / name / "32x48" / "1.0.0"

    return run


def test_it_prints_what_it_checked_the_report_and_the_folder(prepare, capsys):
    folder = prepare("--verify")
    checked, *report, last = capsys.readouterr().out.splitlines()
    assert "5 frames in 1 shards" in checked and "as they were written" in checked
    assert "\n".join(report) + "\n" == (folder / "report.txt").read_text()
    assert last == str(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size=32"], "error: --size got '32'"),
        (["--crop=0,0,x,0"], "error: --crop got '0,0,x,0'"),
        (["--size=16x48"], "error: size is HEIGHTxWIDTH, at least 32"),
        (["--min_pixels=3"], "error: --min_pixels is an option of annotation"),
        (["--annotate"], "error: annotate needs masks"),
    ],
)
def test_mistakes_end_the_command_with_one_message(words, message, prepare):
    with pytest.raises(SystemExit, match=message):
        prepare(*words)


def test_an_unknown_data_set_is_named(prepare):
    with pytest.raises(SystemExit, match="NAME must be one of video, .*'kitti'"):
        prepare(name="kitti")
