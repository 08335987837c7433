"""Predicts: `python -m mdm_jax.predict --workdir=runs/mine --input=a.mp4 --output=out`.

The input is an image, a folder of images, a video, or a folder of several; frames may
have any size. `out/prediction.json` explains all other files and their units. Depth is
relative unless the scale is known from `--camera_height=1.6`, `--speed=13.9` or
`--depths=FILE`. A command that was stopped continues where it was. Examples:

    python -m mdm_jax.predict --workdir=runs/mine --input=photo.jpg --output=out
    python -m mdm_jax.predict --workdir=runs/mine --input=drive.mp4 --output=out \\
        --camera_height=1.6 --save=depth_png,video
"""

from __future__ import annotations

from typing import Any

from absl import flags

from mdm_jax import command_line
from mdm_jax.prediction import request as request_lib
from mdm_jax.training import startup

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run that predicts.")
_INPUT = flags.DEFINE_string(
    "input", None, "Image, video, or folder of images or videos."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint; default: the newest.")
# The fields of `Request`.
_REQUEST: tuple[flags.FlagHolder, ...] = (
    flags.DEFINE_string(
        "intrinsics",
        "",
        "fx,fy,cx,cy in pixels of the frames, a file, or fov:DEGREES; default: the run's, or"
        " a cam.txt beside the frames.",
    ),
    flags.DEFINE_enum(
        "fit",
        "",
        request_lib.FITS,
        "Crop frames to the shape trained on, or stretch them to it; default: as in"
        " training.",
    ),
    flags.DEFINE_string(
        "masks",
        "",
        "Folder or file with instance masks, for methods with object poses.",
    ),
    flags.DEFINE_integer("batch_size", 8, "Frames predicted at a time."),
    flags.DEFINE_float("fps", None, "Frames per second; default: the video's."),
    flags.DEFINE_float(
        "camera_height", None, "Metres above the ground: gives metric scale."
    ),
    flags.DEFINE_string(
        "speed",
        None,
        "Metres per second, or a file with one number per frame: gives metric scale.",
    ),
    flags.DEFINE_string(
        "depths",
        None,
        "File of lines `u v depth` (first frame) or `frame u v depth`, pixels and metres:"
        " gives metric scale.",
    ),
    flags.DEFINE_list(
        "save", list(request_lib.KINDS), "What to write for every frame."
    ),
    flags.DEFINE_enum(
        "maps_at", "input", request_lib.MAP_SIZES, "The size of depth and other maps."
    ),
    flags.DEFINE_string(
        "point_clouds", "middle", "Frame numbers (0,40), `middle` or `none`."
    ),
    flags.DEFINE_bool(
        "overwrite", False, "Replace predictions in --output made with other settings."
    ),
)


def predict_all() -> list[dict[str, Any]]:
    """Predicts as the flags say and returns the contents of each `prediction.json`."""
    workdir, path, output = map(_required, (_WORKDIR, _INPUT, _OUTPUT))
    # Imported here, after JAX is configured.
    from mdm_jax.run import loading

    options = {flag.name: flag.value for flag in _REQUEST}
    # Its errors come before a checkpoint is read.
    request_lib.Request(**options)
    run = loading.load(workdir, step=_STEP.value)
    results = run.predict(path, output, **options)
    for result in results:
        _summarize(result)
    return results


def _required(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise ValueError(f"--{flag.name} is missing; --helpshort explains it")
    return flag.value


def _summarize(result: dict[str, Any]):
    scale = result["scale"]
    print(f"\n{result['name']}: {result['frames']} frames in {result['output']}")
    print(f"  {scale if isinstance(scale, str) else scale['description']}")
    if result["newly_predicted"] < result["frames"]:
        print(f"  newly predicted: {result['newly_predicted']}; the others were stored")
    if not result["complete"]:
        print(f"  ended early: {result['ended_early']}", flush=True)


def main(argv: list[str]):
    command_line.check_no_arguments(argv)
    command_line.log_progress()
    startup.quiet_libraries()
    startup.configure_jax(1, "")
    with command_line.one_line_errors(FloatingPointError):
        predict_all()


def run():
    """Runs the command with the flags of the command line."""
    command_line.run(main, __name__)


if __name__ == "__main__":
    run()
