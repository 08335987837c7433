"""Makes tracks of masks: `mdm-annotate --input=FRAMES --output=DIR --masks=SOURCE`.

The method `instance_motion` needs masks whose ids persist from frame to frame. This
command computes them from masks of single frames and optical flow (Lee et al. 2019,
section 3.4):

    python -m mdm_jax.annotate --input=frames --masks=masks_per_frame --output=tracked
    python -m mdm_jax.main --config=configs/video.py:instance_motion \\
        --workdir=runs/mine_objects --config.dataset.path=frames \\
        --config.dataset.masks=tracked

`--input` is a folder of images, a movie, or a folder with several of either, each of
which is one clip. `--masks` is a folder or file of masks, `motion` (moving objects
by two-view geometry, without a network), `maskrcnn:WEIGHTS.pth`, or `call:package.module.function`; `--flow` is `dis`, a folder, `raft:WEIGHTS.pth` or
`call:...`; see `mdm_jax/annotation/mask_sources.py` and `mdm_jax/flow/flow_sources.py`.
Each clip gets a folder with label maps, `summary.json` and `overview.webm`. The same
command resumes an interrupted run. Clips of raw data sets are annotated by
`mdm-prepare --annotate`.
"""

from __future__ import annotations

import os
import pathlib

from absl import app, flags

from mdm_jax import command_line, sources
from mdm_jax.annotation import annotator, command_flags
from mdm_jax.files import errors
from mdm_jax.sources import own_video
from mdm_jax.visualize import instance_overview

_INPUT = flags.DEFINE_string("input", None, "Frames: folder of images, movie, or both.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder; each clip gets a subfolder.")
_FLAGS = command_flags.define()
flags.adopt_module_key_flags(command_flags)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", 0, "Clips to annotate at a time; 0: one per core."
)
flags.DEFINE_alias("processes", "num_processes")
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "raise", errors.ON_ERROR, "What to do about a clip that fails."
)


def main(argv: list[str]):
    command_line.check_no_arguments(argv)
    command_line.log_progress()
    if not _INPUT.value or not _OUTPUT.value or not _FLAGS["masks"]:
        raise app.UsageError("--input, --output and --masks must not be empty")
    with command_line.one_line_errors(
        ImportError, if_interrupted="interrupted: the same command resumes this run"
    ):
        clips = [
            own_video.with_intrinsics(clip, "", required=False)
            for clip in sources.open_sources(
                "video", _INPUT.value, intrinsics="learned"
            )
        ]
        annotator.annotate(
            clips,
            pathlib.Path(_OUTPUT.value).expanduser(),
            _FLAGS.request(alone=len(clips) == 1),
            num_processes=_NUM_PROCESSES.value or os.cpu_count() or 1,
            on_error=_ON_ERROR.value,
            overview=instance_overview.write if _FLAGS["overview"] else None,
        )


def run():
    """Runs the command with the flags of the command line."""
    flags.mark_flags_as_required(["input", "output", "masks"])
    command_line.run(main, __name__)


if __name__ == "__main__":
    run()
