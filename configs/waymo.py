"""Waymo Open Dataset, front camera, TFRecords of release v1.

    python -m mdm_jax.main --config=configs/waymo.py --workdir=runs/waymo \\
        --config.dataset.path=/path/to/waymo

The data set is read where it was unpacked; resized frames are kept in the workdir.
Networks, losses and schedule are those of Li et al. 2020. Published (Li et al. 2020, median scaled, 80 m): Abs Rel 0.162 without masks, 0.157 with. Not
trained here yet, so there is no figure of this code.
"""

from mdm_jax import config as config_lib

VARIANTS = ("motion_field", "short", "smoke")


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants.

    `motion_field` is the default; `short` learns in 20 000 steps, with the motion net on
    correlation volumes; `smoke` takes ten small steps, to see that all works.
    """
    c = config_lib.base_config()
    c.dataset.name = "waymo_v1"
    c.dataset.split = "training"
    c.dataset.size = (192, 480)
    for variant in filter(None, arg.split(",")):
        if variant == "motion_field":
            c.method = "motion_field"
        elif variant == "short":
            config_lib.use_short_schedule(c, num_steps=20_000)
        elif variant == "smoke":
            config_lib.shrink_to_smoke(c)
        else:
            raise ValueError(
                f"configs/waymo.py knows the variants {', '.join(VARIANTS)}, got "
                f"{variant!r}"
            )
    return c
