"""Annotates: `python -m mdm_jax.annotate --input=FRAMES --output=DIR --masks=SOURCE`.

Method `instance_motion` needs masks whose ids persist from frame to frame. This command
makes them of masks of single frames and of optical flow (Lee et al. 2019, section 3.4):

    python -m mdm_jax.annotate --input=frames --masks=masks_per_frame --output=tracked
    python -m mdm_jax.main --config=configs/video.py:instance_motion \\
        --workdir=runs/mine_objects --config.dataset.path=frames \\
        --config.dataset.masks=tracked

`--input` is what `dataset.path` takes: a folder of images, a video, or a folder of
either, which are one clip each. `--masks` is a folder or file of masks, or
`maskrcnn:WEIGHTS.pth`, or `call:package.module.function`; `--flow` is `dis`, a folder,
`raft:WEIGHTS.pth` or `call:...`: see `mdm_jax.annotation.mask_sources` and
`flow_sources`. Each clip gets a folder of label maps, `summary.json` and
`overview.mp4`. The same command goes on where it was stopped. Clips of raw data sets
are annotated by `datasets/build.py --annotate`.
"""

from __future__ import annotations

import os
import pathlib
import sys

from absl import app, flags, logging

from mdm_jax import sources
from mdm_jax.annotation import all_clips, command_flags
from mdm_jax.files import errors
from mdm_jax.visualize import instance_overview

_INPUT = flags.DEFINE_string("input", None, "Frames: folder of images, video, or both.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder; each clip gets one in it.")
_TRACKS = command_flags.define()
flags.adopt_module_key_flags(command_flags)
_PROCESSES = flags.DEFINE_integer("processes", 0, "Clips at a time; 0: one per core.")
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "raise", errors.ON_ERROR, "What to do about a clip that fails."
)


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    path, output = _INPUT.value, _OUTPUT.value
    if not path or not output or not _TRACKS["masks"]:
        raise app.UsageError("--input, --output and --masks must not be empty")
    try:
        all_clips.annotate(
            sources.open_sources("video", path, intrinsics="learned"),
            pathlib.Path(output).expanduser(),
            sources=_TRACKS.sources(),
            options=_TRACKS.options(),
            processes=_PROCESSES.value or os.cpu_count() or 1,
            on_error=_ON_ERROR.value,
            overview=instance_overview.write if _TRACKS["overview"] else None,
        )
    except (ValueError, OSError, ImportError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on where this stopped")


def run():
    """The console entry point."""
    flags.mark_flags_as_required(["input", "output", "masks"])
    app.run(main)


if __name__ == "__main__":
    run()
