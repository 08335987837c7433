"""Geometry of a video without training: `python -m mdm_jax.two_view a.mp4 --output=out`.

Gives depth where it can be trusted, the trajectory, moving objects and the focal
length, in a minute or two. Start with `out/two_view.html`. Inputs are movies, folders
of images, or folders of either, which get a folder each.
"""

from __future__ import annotations

import dataclasses
import pathlib

from absl import app, flags

from mdm_jax import command_line
from mdm_jax.flow import flow_sources
from mdm_jax.prediction import geometry_page, video_geometry
from mdm_jax.sources import own_video
from mdm_jax.two_view import front_end

_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_INTRINSICS = flags.DEFINE_string(
    "intrinsics",
    "",
    "fx,fy,cx,cy in pixels of the frames, a file, or fov:DEGREES; default: a cam.txt"
    " beside the frames, else the focal length is estimated or guessed.",
)
_WIDTH = flags.DEFINE_integer("width", 640, "Wider frames are made this wide.")
_MAX_FRAMES = flags.DEFINE_integer("max_frames", 300, "Frames to use; 0: all.")
_STRIDE = flags.DEFINE_integer("stride", 0, "Frames between neighbours; 0: by flow.")
_FLOW = flags.DEFINE_string(
    "flow", "dis", "dis, a folder of flow, raft:WEIGHTS.pth or call:package.function."
)
_FORWARD = flags.DEFINE_bool(
    "forward", True, "The camera is expected to move forward where along its axis."
)
_FPS = flags.DEFINE_float("fps", None, "Frames a second; default: the video's, or 10.")


def main(argv: list[str]):
    if len(argv) < 2 or not _OUTPUT.value:
        raise app.UsageError("expected a video or folder of images, and --output=DIR")
    command_line.log_progress()
    request = video_geometry.Request(
        width=_WIDTH.value,
        max_frames=_MAX_FRAMES.value,
        stride=_STRIDE.value,
        options=dataclasses.replace(front_end.DEFAULT, forward=_FORWARD.value),
    )
    with command_line.one_line_errors(ImportError):
        sources = [
            own_video.with_intrinsics(source, _INTRINSICS.value, required=False)
            for path in argv[1:]
            for source in own_video.open_sources(
                pathlib.Path(path).expanduser(), intrinsics="learned"
            )
        ]
        for source in sources:
            flow = flow_sources.create(_FLOW.value, clip=source.name)
            found = video_geometry.analyse(
                source, dataclasses.replace(request, flow=flow)
            )
            folder = pathlib.Path(_OUTPUT.value).expanduser()
            folder = folder / source.name if len(sources) > 1 else folder
            fps = _FPS.value or source.frames_per_second or 10.0
            geometry_page.write(folder, source.name, found, fps)
            print(f"{source.name}: {folder / 'two_view.html'}", flush=True)


def run():
    """Runs the command with the flags of the command line."""
    command_line.run(main, __name__)


if __name__ == "__main__":
    run()
