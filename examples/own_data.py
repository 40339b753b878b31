"""An image set of your own: bright squares on the left or on the right, drawn from a seed."""

import torch

import labkit as lk
from labkit.data import Images, ImageSet


@lk.register_data("sides")
def sides(count: int = 400, *, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=generator)
    pixels = torch.randint(0, 128, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    for image, label in zip(pixels, labels):
        image[:, 8:24, 4 + 16 * label : 12 + 16 * label] = 255
    half, most = count // 2, 3 * count // 4
    parts = (Images(pixels[cut], labels[cut]) for cut in (slice(half), slice(half, most), slice(most, count)))
    return ImageSet("sides", ("left", "right"), *parts, seed=seed)


if __name__ == "__main__":
    lk.checks.check_data("sides")
    print(sides().card())
