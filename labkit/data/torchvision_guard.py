"""Import torchvision where its wheel was built for another torch."""

import torch

_torchvision_schemas: torch.library.Library | None = None


def import_torchvision():
    """Import torchvision, also with a CPU-only torch.

    Its wheel on PyPI is built for CUDA: without the CUDA libraries its C++ operators do not load, and its import fails
    at the two operators for which it registers a fake. Their declaration is enough for all that labkit uses.

    Returns:
        The module torchvision.
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
    """Import torchvision.transforms.v2 with any torch.

    Returns:
        The module.
    """
    import_torchvision()
    from torchvision.transforms import v2

    return v2
