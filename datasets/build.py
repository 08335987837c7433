"""`python -m mdm_jax.prepare` as a script that needs no installation."""

import pathlib
import sys

from absl import flags

# As a script, Python looks for modules beside it and not in the repository.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from mdm_jax import prepare

if __name__ == "__main__":
    __doc__ = prepare.__doc__  # for --help
    flags.adopt_module_key_flags(prepare)
    prepare.run()
