"""Pictures that know which recording and frame they are, and the published folder layouts in miniature."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from endofm.video.frames import UInt8Array
from endofm.video.open import open_video
from endofm.video.writer import write_video

BITS = 12
"""Frame numbers up to 4095 are written into the lowest eighth of a picture, as dark and bright fields."""


def picture(video: int, number: int, width: int = 96, height: int = 72) -> UInt8Array:
    """Return frame ``number`` of recording ``video``: a texture of its own that drifts, and its number."""
    rng = np.random.default_rng(video)
    y, x = np.mgrid[0:height, 0:width] / min(height, width)
    luma = np.zeros((height, width))
    for _ in range(40):  # Strong low and weak high frequencies, as in pictures of real things.
        size, angle = np.exp(rng.uniform(np.log(3), np.log(60))), rng.uniform(0, np.pi)
        phase = rng.uniform(0, 6.3) + rng.uniform(-0.03, 0.03) * number
        luma += size**-0.7 * np.sin(size * (np.cos(angle) * y + np.sin(angle) * x) + phase)
    tint = rng.uniform(0.6, 1, 3)
    frame = np.clip((luma[..., None] * 60 + 120) * tint, 0, 255).astype(np.uint8)
    band = height - height // 8
    fields = np.arange(width) * BITS // width
    frame[band:] = np.where((number >> fields) & 1, 230, 20)[None, :, None]
    return frame


def number_of(frame: UInt8Array) -> int:
    """Return the number in a picture, also after coding and resizing."""
    height, width = frame.shape[:2]
    row = frame[-max(1, height // 16)].mean(axis=1)
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return int(sum(int(row[c] > 125) << bit for bit, c in enumerate(centres)))


def pictures(video: int, count: int, first: int = 0, **size: int) -> list[UInt8Array]:
    return [picture(video, number, **size) for number in range(first, first + count)]


def numbers_in(path: Path) -> list[int]:
    """Return the numbers of all frames of a video or folder of frames."""
    with open_video(path) as source:
        return [number_of(frame.data) for frame in source]


def make_video(path: Path, video: int, count: int, fps: float = 30, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, pictures(video, count, **size), fps)
    return path


def make_avi(path: Path, video: int, count: int, fps: int = 25) -> Path:
    """Write an AVI with Motion JPEG, as old recorders do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuvj420p"
        for data in pictures(video, count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(data, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def make_frames(folder: Path, video: int, numbers: Iterable[int], name: str = "{}.jpg", **size: int) -> Path:
    """Write images whose names hold their number, in an order that is not that of the numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in sorted(numbers, key=lambda n: (n * 7919) % 101):
        Image.fromarray(picture(video, number, **size)).save(folder / name.format(number), quality=95)
    return folder


def colonoscopic(root: Path) -> None:
    for video, (kind, lesion) in enumerate((("adenoma", "adenoma_01"), ("hyperplasic", "hyperplasic_02"))):
        for shift, light in enumerate(("WL", "NBI")):
            make_video(root / kind / lesion / "videos" / f"{light}.mp4", 10 + 2 * video + shift, 12)
    make_video(root / "trailer.mp4", 20, 5)


def sun_seg(root: Path) -> None:
    annotated = root / "SUN-SEG-Annotation"
    stem = "case_M_20181001100941_0U62372100109341_1_005_001-1_a2_ayy_image{:04}.jpg"
    make_frames(annotated / "TrainDataset" / "Frame" / "case1_1", 30, range(1, 13), stem)
    make_frames(annotated / "TestEasyDataset" / "Seen" / "Frame" / "case1_2", 31, range(1, 9), stem)
    make_frames(annotated / "TrainDataset" / "GT" / "case1_1", 32, range(1, 13), stem.replace("jpg", "png"))
    make_frames(root / "SUN-Negative" / "case3", 33, range(1, 23), "case_S_20190101_image{}.jpg")
    make_frames(root / "indexed" / "case1_1", 30, range(1, 5), "img_{:05}.jpg")


def ldpolypvideo(root: Path) -> None:
    make_frames(root / "TrainValid" / "Images" / "1", 40, range(1, 12))
    make_frames(root / "Test" / "Images" / "101", 41, range(1, 5))


def hyper_kvasir(root: Path) -> None:
    tract = root / "labeled-videos"
    polyps = tract / "lower-gi-tract" / "pathological-findings" / "polyps"
    make_avi(polyps / "11305ea5-389a-46c8-95f3-94a1af84247d.avi", 50, 14)
    make_avi(tract / "upper-gi-tract" / "anatomical-landmarks" / "pylorus" / "2c1a.avi", 51, 6)


def kvasir_capsule(root: Path) -> None:
    make_video(root / "labelled_videos" / "3c8d5f0b90d7475d.mp4", 60, 11, width=64, height=64)
    make_video(root / "unlabelled_videos" / "04a7.mp4", 61, 4, width=64, height=64)


def cholect45(root: Path) -> None:
    make_frames(root / "CholecT45" / "data" / "VID01", 70, range(13), "{:06}.png")
    make_frames(root / "CholecT45" / "data" / "VID02", 71, range(4), "{:06}.png")


def polypdiag(root: Path) -> None:
    for name, video in (("a.mp4", 80), ("b.mp4", 81), ("c.mp4", 82), ("spare.mp4", 83)):
        make_video(root / "videos" / name, video, 20)
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("b.mp4,1\na.mp4,0\n")
    (root / "splits" / "val.txt").write_text("c.mp4,1\n")


def cvc(root: Path, numbers: Iterable[int] = (*range(1, 76), *range(200, 206))) -> None:
    base = root / "CVC-ClinicDB"
    (base / "Original").mkdir(parents=True)
    (base / "Ground Truth").mkdir()
    for number in numbers:
        Image.fromarray(picture(90 + number // 25, number)).save(base / "Original" / f"{number}.tif")
        mask = np.zeros((72, 96), np.uint8)
        mask[10:40, number % 50 : number % 50 + 20] = 255
        Image.fromarray(mask).save(base / "Ground Truth" / f"{number}.tif")


def voc_text(filename: str, folder: str, boxes: Iterable[tuple[str, int, int, int, int]], path: str = "") -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for name, a, b, c, d in boxes
    )
    return (
        f"<annotation><folder>{folder}</folder><filename>{filename}</filename><path>{path}</path>"
        f"<size><width>96</width><height>72</height><depth>3</depth></size>{objects}</annotation>"
    )


def kumc(root: Path) -> None:
    """Three shuffled training videos in one flat folder; validation and test by video."""
    base = root / "PolypsSet"
    flat = base / "train2019"
    (flat / "Image").mkdir(parents=True)
    (flat / "Annotation").mkdir()
    frames = [("adenoma/7", 100, n) for n in range(1, 13)] + [("hyper/7", 101, n) for n in range(1, 6)]
    for place, (video, seed, number) in enumerate(sorted(frames, key=lambda f: (f[2] * 37) % 11), 1):
        Image.fromarray(picture(seed, number)).save(flat / "Image" / f"{place}.jpg", quality=95)
        kind = "adenomatous" if "adenoma" in video else "hyperplastic"
        # The two classes state their place differently: with and without the file's name.
        stated = f"/data/set/{video}/{number}.jpg" if kind == "adenomatous" else f"/data/set/{video}"
        text = voc_text(f"{number}.jpg", video.split("/")[1], [(kind, 5, 6, 30 + number, 40)], stated)
        (flat / "Annotation" / f"{place}.xml").write_text(text)
    for piece, seed in (("val2019", 102), ("test2019", 103)):
        make_frames(base / piece / "Image" / "1", seed, range(1, 12))
        annotations = base / piece / "Annotation" / "1"
        annotations.mkdir(parents=True)
        for number in range(1, 11):  # The last image has none.
            boxes = [("hyperplastic", 1, 2, 200, 50)] if number > 2 else []
            (annotations / f"{number}.xml").write_text(voc_text(f"{number}.jpg", "1", boxes))
