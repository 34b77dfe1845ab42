"""Makes a small set of real pictures in the layout of CIFAR-10's binary files: clip art of ten kinds, 32 by 32.

    examples/fetch openclipart                       # once; needs a Debian 12
    pip install pillow
    python benches/pictures.py [--assets FOLDER]     # writes FOLDER/openclipart32: data_batch_1.bin, test_batch.bin

The kinds are the ten folders of openclipart with the most pictures, those that say nothing of what is in them left out; of a
folder at most 300 are taken. Every fifth picture is a test picture, in the order of the pictures' sums, so that no run of the
script and no other machine has another set. Pictures that are equal at 32 by 32 are taken once.
"""

import argparse
import hashlib
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SIDE, KINDS, MOST = 32, 10, 300
VAGUE = {"unsorted", "special"}


def picture(path):
    """The three planes of a picture on white, its longer side 32."""
    with Image.open(path) as image:
        image = image.convert("RGBA")
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        page = Image.new("RGBA", (SIDE, SIDE), "white")
        page.alpha_composite(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        return b"".join(plane.tobytes() for plane in page.convert("RGB").split())


def main():
    parser = argparse.ArgumentParser(description="Makes a small set of real pictures in the layout of CIFAR-10.")
    parser.add_argument("--assets", type=Path, default=ROOT / "target/assets")
    assets = parser.parse_args().assets
    folders = {f.name: sorted(f.rglob("*.png")) for f in (assets / "openclipart").iterdir() if f.name not in VAGUE}
    kinds = sorted(sorted(folders, key=lambda name: -len(folders[name]))[:KINDS])
    seen, records = set(), []
    for label, kind in enumerate(kinds):
        own = []
        for path in folders[kind]:
            try:
                planes = picture(path)
            except (OSError, Image.DecompressionBombError):
                continue
            if planes not in seen:
                seen.add(planes)
                own.append((hashlib.sha256(planes).digest(), bytes([label]) + planes))
        records += sorted(own)[:MOST]
        print(f"{label} {kind}: {len(own[:MOST])}")
    records.sort()
    test, train = records[::5], [record for i, record in enumerate(records) if i % 5]
    to = assets / "openclipart32"
    to.mkdir(parents=True, exist_ok=True)
    for name, part in (("data_batch_1.bin", train), ("test_batch.bin", test)):
        content = b"".join(record for _, record in part)
        (to / name).write_bytes(content)
        print(f"{name}: {len(part)} pictures, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
