"""Loading networks of torchvision with weights from a file.

They need the extra `annotate`. Nothing is downloaded: weights are files that the user
has, as torchvision publishes them (`maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth`,
`raft_large_C_T_SKHT_V2-ff5fadd5.pth` and the like).
"""

from __future__ import annotations

import importlib
import pathlib
from typing import Any

from mdm_jax.files.errors import DataError


def import_torchvision() -> tuple[Any, Any]:
    """Returns the modules torch and torchvision.models."""
    try:
        torch = importlib.import_module("torch")
        models = importlib.import_module("torchvision.models")
    except ImportError as error:
        raise ImportError(
            'Mask R-CNN and RAFT need pip install "mdm_jax[annotate]": torch and'
            f" torchvision ({error})"
        ) from error
    return torch, models


def load(torch: Any, path: pathlib.Path, makers: dict[str, Any], **options: Any) -> Any:
    """Returns the first network that a file of weights fits, ready for prediction.

    Raises:
        DataError: the weights are missing or of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(path, "no such file of weights") from error
    except Exception as error:
        raise DataError(
            path,
            "expected a file of PyTorch weights, a dictionary of tensors"
            f" ({type(error).__name__})",
        ) from error
    problems = []
    for name, make in makers.items():
        network = make(weights=None, **options)
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            problems.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        if name == "maskrcnn_resnet50_fpn":
            # Its weights were learned so, and torchvision sets it for them, too.
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eps = 0.0
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return network.to(device).eval()
    raise DataError(path, f"weights of no network known here ({'; '.join(problems)})")
