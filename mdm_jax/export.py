"""Exports: `python -m mdm_jax.export --workdir=runs/demo --format=params --output=out`.

Writes what a trained run has learned in one of these forms:

    params      params.safetensors and config.json, to train further in this package
                (`--config.networks.init=out/params.safetensors`)
    stablehlo   depth.jax_export and egomotion.jax_export, programs with their weights
                for CPU, CUDA and TPU, which need only `jax` and `flatbuffers` to run
    onnx        depth.onnx, for ONNX Runtime; needs the package jax2onnx, which asks for
                an older orbax-checkpoint and so for an environment of its own
    torch       network.safetensors, the depth net in the layouts of torchvision and
                monodepth2; for runs with config.networks.norm=batch

The programs take images `[b h w 3]` in [0, 1] of one size, `--size` or that of training,
and any batch size; depth and translation share one unknown scale. `egomotion` takes pairs
`[b 2 h w 3]` and intrinsics `[b 3 3]`, and instance labels uint8 `[b 2 h w]` if the run
was trained with them. To run one:

    with open("out/depth.jax_export", "rb") as file:
        depth = jax.export.deserialize(bytearray(file.read())).call(images)

Every export is read back, run and compared with the run itself before it gets its name;
the largest difference is printed.
"""

from __future__ import annotations

from absl import app, flags

from mdm_jax import command_line, settings
from mdm_jax.run import exporting, loading
from mdm_jax.training import startup

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run to export.")
_FORMAT = flags.DEFINE_enum(
    "format", "params", exporting.FORMATS, "Form of the export."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to create.")
_SIZE = flags.DEFINE_string(
    "size", None, "HEIGHTxWIDTH of the images, as in 128x416; default: training's."
)
_STEP = flags.DEFINE_integer("step", None, "Step of the checkpoint; default: newest.")


def _size() -> tuple[int, int] | None:
    if _SIZE.value is None:
        return None
    try:
        return settings.parse_size(_SIZE.value.replace(",", "x"))
    except ValueError as error:
        raise ValueError(f"--size: {error}") from error


def main(argv: list[str]):
    command_line.check_no_arguments(argv)
    workdir, output = _WORKDIR.value, _OUTPUT.value
    if workdir is None or output is None:
        raise app.UsageError("--workdir and --output are needed")
    command_line.log_progress()
    startup.quiet_libraries()
    startup.configure_jax(1, "")
    with command_line.one_line_errors():
        run = loading.load(workdir, step=_STEP.value)
        differences = exporting.export(run, _FORMAT.value, output, size=_size())
        allowed = exporting.TOLERANCES[_FORMAT.value]
        for name, difference in differences.items():
            print(
                f"{output}/{name}: step {run.step}, largest difference from the run "
                f"{difference:.1e} (relative; allowed {allowed:.0e})"
            )


def run_command():
    """Runs the command with the flags of the command line."""
    flags.mark_flags_as_required(["workdir", "output"])
    command_line.run(main, __name__)


if __name__ == "__main__":
    run_command()
