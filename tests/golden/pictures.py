"""Makes small pictures in every form that the tests read, and what PIL and torchvision make of them.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-data.txt
    python tests/golden/pictures.py

golden/pictures/blue, red     pictures of 12 by 16 in two classes: grey, palette, transparent and 16-bit PNG, plain, progressive,
  grey and subsampled JPEG.
golden/pictures/odd           one that is 30 by 22, and one that is 17 by 40.
golden/pictures.safetensors   `pixels` u8 [n, 3, 12, 16] of those in blue and red by their names, as PIL decodes them; for each
  of odd, `NAME.stretch` and `NAME.crop` u8 [3, 12, 16], and `NAME.square` [3, 8, 8]: as PIL's BILINEAR, and as torchvision's
  `Resize` and `CenterCrop`.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as T

GOLDEN = Path(__file__).parent
HOME = GOLDEN / "pictures"


def scene(height, width, seed):
    """Something with edges and slopes."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    wave = [np.sin(6 * x * (k + 1) + seed) + np.cos(5 * y * (3 - k) - seed) for k in range(3)]
    rgb = np.stack([127 + 55 * w for w in wave], -1)
    rgb[height // 3 : height // 2, width // 4 : width // 2] = (250, 20 * seed % 255, 10)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def main():
    for name in ["blue", "red", "odd"]:
        (HOME / name).mkdir(parents=True, exist_ok=True)
    small = [scene(12, 16, seed) for seed in range(1, 10)]
    small[0].save(HOME / "blue/a.png")
    small[1].convert("L").save(HOME / "blue/b.png")
    small[2].quantize(7).save(HOME / "blue/c.png")
    clear = small[3].convert("RGBA")
    clear.putalpha(Image.fromarray((np.arange(192).reshape(12, 16) % 256).astype(np.uint8)))
    clear.save(HOME / "blue/d.png")
    Image.fromarray((np.asarray(small[4].convert("L")).astype(np.uint16) * 257)).save(HOME / "red/a.png")
    small[5].save(HOME / "red/b.jpg", quality=95, subsampling=0)
    small[6].save(HOME / "red/c.JPEG", quality=90, progressive=True, subsampling=0)
    small[7].convert("L").save(HOME / "red/d.jpg", quality=95)
    small[8].save(HOME / "red/e.jpg", quality=85)
    scene(30, 22, 4).save(HOME / "odd/tall.png")
    scene(17, 40, 5).save(HOME / "odd/wide.png")

    def pixels(image):
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()

    paths = sorted(p for name in ["blue", "red"] for p in (HOME / name).iterdir())
    found = {"pixels": torch.stack([pixels(Image.open(p)) for p in paths])}
    for path in sorted((HOME / "odd").iterdir()):
        image = Image.open(path)
        found[f"{path.stem}.stretch"] = pixels(image.resize((16, 12), Image.Resampling.BILINEAR))
        w, h = image.size
        scale = max(16 / w, 12 / h)
        size = (12, int(12 * w / h)) if scale == 12 / h else (int(16 * h / w), 16)
        found[f"{path.stem}.crop"] = pixels(T.center_crop(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), (12, 16)))
        found[f"{path.stem}.square"] = pixels(T.center_crop(T.resize(image, 8), 8))
    save_file(found, GOLDEN / "pictures.safetensors")


if __name__ == "__main__":
    main()
