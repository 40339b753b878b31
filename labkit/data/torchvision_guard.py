"""torchvision where its wheel and torch do not match."""

import torch

_torchvision_schemas: torch.library.Library | None = None


def import_torchvision():
    """torchvision, also with a CPU-only torch.

    Its wheel on PyPI is built for CUDA: without the CUDA libraries its C++ operators do not load, and its import
    then fails on the schemas of the two that it registers a fake for. Declaring those is enough for all we use.
    """
    global _torchvision_schemas
    if torch.version.cuda is None and _torchvision_schemas is None:
        try:
            torch.ops.torchvision.nms  # noqa: B018
        except (AttributeError, RuntimeError):
            _torchvision_schemas = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                _torchvision_schemas.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
    import torchvision.datasets

    return torchvision


def transforms():
    """torchvision.transforms.v2, with any torch."""
    import_torchvision()
    from torchvision.transforms import v2

    return v2
