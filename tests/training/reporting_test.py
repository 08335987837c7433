"""Reports reach the files, the log and the terminal, once each."""

from __future__ import annotations

import io
import json
import sys
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.training import reporting


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.fixture
def log_lines(monkeypatch):
    lines = []
    monkeypatch.setattr(
        reporting.logging, "info", lambda text, *values: lines.append(text % values)
    )
    return lines


class Terminal(io.StringIO):
    def isatty(self):
        return True


def read(workdir):
    text = (workdir / reporting.METRICS_FILE).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_every_write_is_one_json_line_with_step_and_time(tmp_path):
    with reporting.Reporter(tmp_path / "new" / "run", 9) as reporter:
        reporter.write_scalars(2, {"loss/total": 0.5, "rate": np.float32(0.25)})
        reporter.write_scalars(4, {"loss/total": jnp.full((), 0.125)})
        lines = read(tmp_path / "new" / "run")  # while the run still goes on
    assert [line.pop("time") > 1.7e9 for line in lines] == [True, True]
    assert lines == [
        {"step": 2, "loss/total": 0.5, "rate": 0.25},
        {"step": 4, "loss/total": 0.125},
    ]


def test_resuming_drops_what_comes_after_the_resumed_step(tmp_path):
    with reporting.Reporter(tmp_path, 9) as reporter:
        for step in (2, 4, 6):
            reporter.write_scalars(step, {"loss": step})
    with (tmp_path / reporting.METRICS_FILE).open("a") as file:
        file.write('{"step": 4, "lo')  # as where the run was killed
    with reporting.Reporter(tmp_path, 9, resumed_step=4) as reporter:
        reporter.write_scalars(6, {"loss": 60})
    lines = read(tmp_path)
    assert [(line["step"], line["loss"]) for line in lines] == [(2, 2), (4, 4), (6, 60)]


def test_the_final_evaluation_of_a_complete_run_is_replaced(tmp_path):
    for rate in (0.5, 0.25):
        with reporting.Reporter(tmp_path, 9, resumed_step=9) as reporter:
            reporter.write_scalars(4, {"train/seconds": 1.0})
            reporter.write_scalars(9, {"loss": 2.0})
            reporter.write_scalars(9, {"train/seconds": 2.0, "rate": rate})
            lines = read(tmp_path)
    # Only what comes again is dropped.
    assert [(line["step"], line.get("rate")) for line in lines] == [
        *[(4, None), (9, None)] * 2,
        (9, 0.25),
    ]


def test_a_new_run_starts_the_file_anew(tmp_path):
    for _ in range(2):
        with reporting.Reporter(tmp_path, 9) as reporter:
            reporter.write_scalars(0, {"loss": 1.0})
    assert len(read(tmp_path)) == 1


def test_values_that_are_not_finite_are_null(tmp_path):
    with reporting.Reporter(tmp_path, 9) as reporter:
        reporter.write_scalars(1, {"a": float("nan"), "b": jnp.inf, "c": 3})
    (line,) = read(tmp_path)
    assert (line["a"], line["b"], line["c"]) == (None, None, 3)


def test_names_of_the_file_itself_are_refused(tmp_path):
    reporter = reporting.Reporter(tmp_path, 9)
    with reporter, pytest.raises(ValueError, match=r"\['time'\].*choose others"):
        reporter.write_scalars(1, {"time": 1.0})


def test_log_lines_tell_step_speed_and_seconds_left(tmp_path, monkeypatch, log_lines):
    now = iter([100.0, 102.0])
    monkeypatch.setattr(reporting.time, "monotonic", lambda: next(now))
    with reporting.Reporter(tmp_path, 50, terminal=io.StringIO()) as reporter:
        reporter.advance(1)
        reporter.advance(21)
        reporter.write_scalars(21, {"loss/total": 0.123456})
    assert log_lines[-1] == (
        "step 21 of 50, 100.0 ms per step, 3 s left: loss/total 0.1235"
    )


def test_long_log_lines_point_to_the_metrics_file(tmp_path, log_lines):
    with reporting.Reporter(tmp_path, 9, terminal=io.StringIO()) as reporter:
        reporter.write_scalars(1, {f"m{i:02d}": i for i in range(11)})
    assert log_lines[-1].endswith("m07 7, and 3 more in metrics.jsonl")
    assert len(read(tmp_path)[0]) == 2 + 11


def test_a_terminal_gets_a_bar_with_the_loss_instead_of_log_lines(tmp_path, log_lines):
    terminal = Terminal()
    with reporting.Reporter(
        tmp_path, 40, resumed_step=10, terminal=terminal
    ) as reporter:
        reporter.advance(30)
        reporter.write_scalars(30, {"gradient_norm": 7.0, "loss/total": 0.123456})
    assert "10/40" in terminal.getvalue()
    assert "30/40" in terminal.getvalue()
    assert "loss 0.1235" in terminal.getvalue()
    assert not any("loss" in line for line in log_lines)


def test_without_tensorflow_one_log_line_names_the_extra(tmp_path, log_lines):
    with reporting.Reporter(tmp_path, 9) as reporter:
        reporter.write_images(1, {"panel": np.zeros((5, 7, 3), np.uint8)})
    assert sum("mdm_jax[tensorboard]" in line for line in log_lines) == 1


def test_with_tensorflow_scalars_and_images_go_to_the_summary_writer(
    tmp_path, monkeypatch
):
    calls = []

    class SummaryWriter:
        def __init__(self, folder):
            calls.append(("open", folder))

        def write_scalars(self, step, scalars):
            calls.append((step, scalars))

        def write_images(self, step, images):
            calls.append((step, {k: v.shape for k, v in images.items()}))

        def close(self):
            calls.append("close")

    hidden = []
    tensorflow, writers = ModuleType("tensorflow"), ModuleType("metric_writers")
    config = ModuleType("config")
    vars(config)["set_visible_devices"] = lambda devices, kind: hidden.append(kind)
    vars(tensorflow)["config"] = config
    vars(writers)["SummaryWriter"] = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setitem(sys.modules, "clu.metric_writers", writers)
    monkeypatch.setattr("clu.metric_writers", writers, raising=False)
    with reporting.Reporter(tmp_path, 9) as reporter:
        reporter.write_scalars(3, {"loss": jnp.full((), 0.5)})
        reporter.write_images(3, {"panel": np.zeros((5, 7, 3), np.uint8)})
    assert hidden == ["GPU", "TPU"]
    assert calls == [
        ("open", str(tmp_path)),
        (3, {"loss": 0.5}),
        (3, {"panel": (1, 5, 7, 3)}),
        "close",
    ]


@pytest.mark.parametrize(
    "image", [np.zeros((5, 7), np.uint8), np.zeros((5, 7, 3), np.float32)]
)
def test_images_of_another_kind_are_refused_by_name(tmp_path, image):
    reporter = reporting.Reporter(tmp_path, 9)
    with reporter, pytest.raises(ValueError, match="'panel'.*uint8"):
        reporter.write_images(1, {"panel": image})


def test_tables_align_numbers_and_leave_unknown_cells_empty():
    text = reporting.format_table(
        "Depth",
        [
            ("", "abs_rel", "frames", "a1"),
            ("prediction", 0.21, 12, None),
            ("constant", np.float32(0.345), "", 1e-4),
        ],
    )
    assert text.splitlines() == [
        "Depth",
        "------------------------------------",
        "            abs_rel  frames       a1",
        "------------------------------------",
        "prediction   0.2100      12",
        "constant     0.3450          1.0e-04",
    ]


def test_tables_are_printed_on_standard_output(tmp_path, capsys):
    for terminal in (io.StringIO(), Terminal()):
        with reporting.Reporter(tmp_path, 9, terminal=terminal) as reporter:
            reporter.table("Speed", [["milliseconds"], [12.5]])
        assert "12.5000" in capsys.readouterr().out


def test_closing_twice_does_nothing_more(tmp_path):
    reporter = reporting.Reporter(tmp_path, 9)
    reporter.close()
    reporter.close()


def test_the_first_process_reports_and_the_others_are_silent(tmp_path, monkeypatch):
    with reporting.make_reporter(tmp_path / "first", 9) as reporter:
        assert isinstance(reporter, reporting.Reporter)
    monkeypatch.setattr(reporting.jax, "process_index", lambda: 3)
    with reporting.make_reporter(tmp_path / "other", 9) as reporter:
        reporter.advance(1)
        reporter.write_scalars(1, {"loss": 1.0})
        reporter.table("Nothing", [["a"], [1]])
    assert not (tmp_path / "other").exists()
