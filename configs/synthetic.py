"""Synthetic drives: learns depth, egomotion and object motion on a laptop's CPU.

python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo
"""

from mdm_jax import config as config_lib

VARIANTS = ("motion_field", "smoke", "long", "paper_net", "paper_size", "validation")


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, see the docstring above."""
    c = config_lib.base_config()
    c.dataset.name = "synthetic"
    c.dataset.size = (48, 160)
    c.dataset.num_drives = 10
    c.dataset.frames_per_drive = 100
    c.dataset.num_evaluation_drives = 4

    c.networks.width_multiplier = 0.25
    c.networks.motion_net = "correlation"
    c.motion_field.burnin_steps = 0
    c.motion_field.norm_noise = 0.0
    c.motion_field.regularizer_ramp_steps = 2000

    c.augment.min_crop_scale = 1.0
    c.augment.color_probability = 0.0

    c.loss_weights.motion_smoothness = 0.3
    c.loss_weights.motion_sparsity = 0.1
    c.loss_weights.depth_smoothness = 0.01
    c.loss_weights.log_scale_pin = 0.01

    c.optimizer.learning_rate = 1e-3
    c.optimizer.schedule = "cosine"
    c.optimizer.warmup_steps = 100
    c.train.batch_size = 4
    c.train.num_steps = 4000
    c.train.cpu_devices = 2
    c.train.log_every = 100
    c.train.checkpoint_every = 1000
    c.evaluation.batch_size = 8

    for variant in filter(None, arg.split(",")):
        if variant == "motion_field":
            pass
        elif variant == "smoke":
            c.dataset.size = (32, 96)
            c.dataset.num_drives = c.dataset.num_evaluation_drives = 1
            c.dataset.frames_per_drive = 12
            c.train.num_steps = 10
            c.train.log_every = 5
            c.train.checkpoint_every = 5
        elif variant == "validation":
            c.evaluation.split = "validation"
        elif variant == "paper_net":
            c.networks.motion_net = "paper"
        else:
            raise ValueError(
                f"configs/synthetic.py knows the variants {', '.join(VARIANTS)}, "
                f"got {variant!r}"
            )
    return c
