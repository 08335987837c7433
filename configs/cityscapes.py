"""Cityscapes, the sequences around the training images, bonnet cut away.

    python -m mdm_jax.main --config=configs/cityscapes.py --workdir=runs/cityscapes \\
        --config.dataset.path=/path/to/cityscapes

The data set is read where it was unpacked; resized frames are kept in the workdir.
Networks, losses and schedule are those of Li et al. 2020. Published (Li et al. 2020, median scaled, 80 m): Abs Rel 0.119 on the test images. Not
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
    c.dataset.name = "cityscapes"
    c.dataset.split = "train"
    c.dataset.size = (128, 416)
    for variant in filter(None, arg.split(",")):
        if variant == "motion_field":
            c.method = "motion_field"
        elif variant == "short":
            config_lib.use_short_schedule(c, num_steps=20_000)
        elif variant == "smoke":
            config_lib.shrink_to_smoke(c)
        else:
            raise ValueError(
                f"configs/cityscapes.py knows the variants {', '.join(VARIANTS)}, got "
                f"{variant!r}"
            )
    return c
