"""How commands start and end."""

from __future__ import annotations

import pytest
from absl import app, logging

from mdm_jax import command_line


@pytest.fixture
def verbosity():
    """Restores absl's verbosity."""
    before = logging.get_verbosity()
    yield
    logging.set_verbosity(before)


def test_an_argument_that_is_no_option_is_named():
    command_line.check_no_arguments(["command"])
    with pytest.raises(app.UsageError, match="'runs/demo'"):
        command_line.check_no_arguments(["command", "runs/demo"])


@pytest.mark.parametrize("error", [ValueError, OSError, ImportError])
def test_an_unusable_input_ends_with_one_line(error, verbosity):
    logging.set_verbosity(logging.INFO)
    with (
        pytest.raises(SystemExit, match="^error: no such file$"),
        command_line.one_line_errors(ImportError),
    ):
        raise error("no such file")


def test_debugging_shows_the_traceback(verbosity):
    logging.set_verbosity(logging.DEBUG)
    command_line.log_progress()
    with (
        pytest.raises(ValueError, match="no such file"),
        command_line.one_line_errors(),
    ):
        raise ValueError("no such file")


def test_other_errors_and_interrupts_pass_through(verbosity):
    logging.set_verbosity(logging.INFO)
    with pytest.raises(KeyError), command_line.one_line_errors():
        raise KeyError("a fault of the program")
    with pytest.raises(KeyboardInterrupt), command_line.one_line_errors():
        raise KeyboardInterrupt
    with (
        pytest.raises(SystemExit, match="resumes"),
        command_line.one_line_errors(if_interrupted="the same command resumes"),
    ):
        raise KeyboardInterrupt
