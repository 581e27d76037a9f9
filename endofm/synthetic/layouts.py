"""File layouts of rendered sets, one per task, as the published code expects them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from endofm.data.manifest import CLIP_MANIFEST_NAME, ClipRow, joint_checksum, write_manifest
from endofm.data.prepare.lists import write_clip_list
from endofm.files import write_text
from endofm.synthetic.annotations import coco_annotations, voc_annotation
from endofm.synthetic.clip_record import ClipRecord
from endofm.synthetic.image_files import save_image
from endofm.synthetic.render import SyntheticClip
from endofm.synthetic.set_plan import SPLITS, PlannedClip, SetSettings
from endofm.synthetic.specs import HISTOLOGIES, NOTICE, SHAPES
from endofm.video.writer import write_video

KINDS = ("none", *(f"{shape} {histology}" for shape in SHAPES for histology in HISTOLOGIES))
"""Class names of the lists by kind; a class is an index into it."""

LIST_PATTERNS = (
    CLIP_MANIFEST_NAME,
    "train.csv",
    "val.csv",
    "test.csv",
    "classes.json",
    "clips.json",
    "lists/*.txt",
    "splits/*.txt",
    "splits_kind/*.txt",
    "ImageSets/*.txt",
    "annotations/*.json",
)
"""Files besides the clips' own that the layouts write below a set's folder."""


class Layout(ABC):
    """File layout of the clips of one task.

    Attributes:
        description: List of the files in Markdown, for the set's README.
    """

    description: str

    @abstractmethod
    def write_clip(self, root: Path, planned: PlannedClip, clip: SyntheticClip) -> list[str]:
        """Write the files of one clip; return their paths below ``root``, frames before annotations."""

    @abstractmethod
    def write_lists(self, root: Path, records: Sequence[ClipRecord]) -> None:
        """Write the lists of all clips."""


class PretrainLayout(Layout):
    """``clips/*.mp4`` and the list ``train.csv``, without labels."""

    description = (
        "- `clips/<number>.mp4`: the clips.\n"
        "- `train.csv`: `path,-1` per line, absolute paths, as the published pre-training code reads it.\n"
        "- `manifest.csv`: one line per clip with sizes, times and checksums."
    )

    def write_clip(self, root: Path, planned: PlannedClip, clip: SyntheticClip) -> list[str]:
        """See :class:`Layout`."""
        path = f"clips/{planned.index + 1:05d}.mp4"
        write_video(root / path, clip.frames, clip.parameters["config"]["fps"], comment=NOTICE)
        return [path]

    def write_lists(self, root: Path, records: Sequence[ClipRecord]) -> None:
        """See :class:`Layout`."""
        rows = [_row(record, record.files[0][0], str(record.label)) for record in records]
        write_manifest(root / CLIP_MANIFEST_NAME, rows)
        write_clip_list(root / "train.csv", rows)


_CLASSES = ("normal", "polyp")
"""Names of the labels 0 and 1."""


class ClassificationLayout(Layout):
    """``videos/`` and ``splits/{train,val,test}.txt`` as in PolypDiag."""

    description = (
        "- `videos/<patient>/<number>.mp4`: the clips.\n"
        "- `splits/{train,val,test}.txt`: `path,label` per line, paths below `videos/`; label 1 if a polyp comes into "
        "view, else 0, as published.\n"
        "- `splits_kind/{train,val,test}.txt`: the same with the kind of polyp as class, see `classes.json`.\n"
        "- `manifest.csv`: one line per clip with label (`normal` or `polyp`), sizes, times and checksums."
    )

    def write_clip(self, root: Path, planned: PlannedClip, clip: SyntheticClip) -> list[str]:
        """See :class:`Layout`."""
        path = f"videos/{clip.patient}/{planned.index + 1:05d}.mp4"
        write_video(root / path, clip.frames, clip.parameters["config"]["fps"], comment=NOTICE)
        return [path]

    def write_lists(self, root: Path, records: Sequence[ClipRecord]) -> None:
        """See :class:`Layout`."""
        write_manifest(root / CLIP_MANIFEST_NAME, [_row(r, r.files[0][0], _CLASSES[r.label]) for r in records])
        for split, chosen in _by_split(records):
            names = [r.files[0][0].removeprefix("videos/") for r in chosen]
            _write_lines(root / f"splits/{split}.txt", (f"{n},{r.label}" for n, r in zip(names, chosen, strict=True)))
            kinds = (f"{n},{KINDS.index(r.kind)}" for n, r in zip(names, chosen, strict=True))
            _write_lines(root / f"splits_kind/{split}.txt", kinds)
        classes = {"notice": NOTICE, "splits": list(_CLASSES), "splits_kind": list(KINDS)}
        _write_lines(root / "classes.json", [json.dumps(classes, indent=2)])


class ClinicSegmentationLayout(Layout):
    """Numbered TIFF files as in CVC-ClinicDB, and lists of the frames of each clip."""

    description = (
        "- `CVC-ClinicDB/Original/<i>.tif`: RGB frames, numbered from 1 across all clips.\n"
        "- `CVC-ClinicDB/Ground Truth/<i>.tif`: 8-bit masks, 255 polyp, 0 elsewhere.\n"
        "- `lists/{train,val,test}.txt`: one clip per line, `CVC-ClinicVideoDB/indexed <first> <number> -1`, that is "
        "frames `first` to `first + number - 1`.\n"
        "- `clips.json`: the same as numbers, `[first, number]` per clip, with patients."
    )

    def write_clip(self, root: Path, planned: PlannedClip, clip: SyntheticClip) -> list[str]:
        """See :class:`Layout`."""
        first = planned.index * len(clip.frames) + 1
        images, masks = [], []
        for k, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True)):
            images.append(f"CVC-ClinicDB/Original/{first + k}.tif")
            masks.append(f"CVC-ClinicDB/Ground Truth/{first + k}.tif")
            save_image(root / images[-1], frame)
            save_image(root / masks[-1], mask)
        return images + masks

    def write_lists(self, root: Path, records: Sequence[ClipRecord]) -> None:
        """See :class:`Layout`."""
        listed: dict[str, list[dict[str, object]]] = {}
        for split, chosen in _by_split(records):
            spans = [(r.index * len(r.frames) + 1, len(r.frames)) for r in chosen]
            _write_lines(root / f"lists/{split}.txt", (f"CVC-ClinicVideoDB/indexed {a} {n} -1" for a, n in spans))
            listed[split] = [{"clip": list(s), "patient": r.patient} for s, r in zip(spans, chosen, strict=True)]
        _write_lines(root / "clips.json", [json.dumps({"notice": NOTICE, **listed}, indent=1)])


class FolderSegmentationLayout(Layout):
    """A folder of frames and one of masks for each clip, listed in a CSV."""

    description = (
        "- `frames/<clip>/<k>.png`: RGB frames, numbered from 1.\n"
        "- `masks/<clip>/<k>.png`: 8-bit masks, 255 polyp, 0 elsewhere.\n"
        "- `{train,val,test}.csv`: columns `frames,masks,patient`, one clip per line, folders below this one.\n"
        "- `manifest.csv`: one line per clip with sizes and times."
    )

    def write_clip(self, root: Path, planned: PlannedClip, clip: SyntheticClip) -> list[str]:
        """See :class:`Layout`."""
        name = f"{clip.patient}_{planned.index + 1:05d}"
        images, masks = [], []
        for k, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True), start=1):
            images.append(f"frames/{name}/{k:05d}.png")
            masks.append(f"masks/{name}/{k:05d}.png")
            save_image(root / images[-1], frame)
            save_image(root / masks[-1], mask)
        return images + masks

    def write_lists(self, root: Path, records: Sequence[ClipRecord]) -> None:
        """See :class:`Layout`."""
        write_manifest(root / CLIP_MANIFEST_NAME, [_row(r, _folder(r.files[0][0]), str(r.label)) for r in records])
        for split, chosen in _by_split(records):
            lines = (f"{_folder(r.files[0][0])},{_folder(r.files[-1][0])},{r.patient}" for r in chosen)
            _write_lines(root / f"{split}.csv", ["frames,masks,patient", *lines])


class DetectionLayout(Layout):
    """``Image/``, ``Annotation/`` (VOC XML) and lists as the published code reads KUMC, and COCO JSON."""

    description = (
        "- `{train,val,test}2019/Image/<video>/<i>.jpg`: frames, numbered from 1.\n"
        "- `{train,val,test}2019/Annotation/<video>/<i>.xml`: VOC boxes; `xmax` and `ymax` are the first column and "
        "row outside of the polyp, so that width is `xmax - xmin`.\n"
        "- `ImageSets/{train,val,test}.txt`: `<video> 0 <i> <N>`, one frame per line.\n"
        "- `annotations/{train,val,test}.json`: the same boxes as COCO, with `videos` and each image's `video_id` and "
        "`frame_id`; categories 1 adenomatous, 2 hyperplastic.\n"
        "- `manifest.csv`: one line per clip with sizes and times."
    )

    def write_clip(self, root: Path, planned: PlannedClip, clip: SyntheticClip) -> list[str]:
        """See :class:`Layout`."""
        name = f"{clip.patient}_{planned.index + 1:05d}"
        images, notes = [], []
        for k, frame in enumerate(clip.frames, start=1):
            images.append(f"{planned.split}2019/Image/{name}/{k}.jpg")
            notes.append(f"{planned.split}2019/Annotation/{name}/{k}.xml")
            save_image(root / images[-1], frame)
            _write_lines(root / notes[-1], [voc_annotation(name, k, clip)])
        return images + notes

    def write_lists(self, root: Path, records: Sequence[ClipRecord]) -> None:
        """See :class:`Layout`."""
        write_manifest(root / CLIP_MANIFEST_NAME, [_row(r, _folder(r.files[0][0]), str(r.label)) for r in records])
        for split, chosen in _by_split(records):
            lines = []
            for record in chosen:
                video, n = Path(record.files[0][0]).parent.name, len(record.frames)
                lines += [f"{video} 0 {k} {n}" for k in range(1, n + 1)]
            _write_lines(root / f"ImageSets/{split}.txt", lines)
            _write_lines(root / f"annotations/{split}.json", [json.dumps(coco_annotations(chosen))])


def layout_of(settings: SetSettings) -> Layout:
    """Return the layout that a set is written in."""
    if settings.task == "segmentation":
        return ClinicSegmentationLayout() if settings.published_layout else FolderSegmentationLayout()
    layouts: dict[str, type[Layout]] = {
        "pretrain": PretrainLayout,
        "classification": ClassificationLayout,
        "detection": DetectionLayout,
    }
    return layouts[settings.task]()


def _by_split(records: Sequence[ClipRecord]) -> Iterable[tuple[str, list[ClipRecord]]]:
    for split in SPLITS:
        chosen = [record for record in records if record.split == split]
        if chosen:
            yield split, chosen


def _folder(path: str) -> str:
    return path.rsplit("/", 1)[0]


def _row(record: ClipRecord, path: str, label: str) -> ClipRow:
    """Return the manifest's line of a clip, a file or a folder of frames."""
    frames = len(record.frames)
    own = [f for f in record.files if f[0] == path or f[0].startswith(f"{path}/")]
    return ClipRow(
        path=path,
        label=label,
        split=record.split,
        patient=record.patient,
        video=f"{record.patient}/{record.index + 1:05d}",
        num_frames=frames,
        width=record.width,
        height=record.height,
        fps=record.fps,
        source="synthetic",
        source_last_frame=frames - 1,
        source_end_seconds=frames / record.fps,
        source_fps=record.fps,
        size_bytes=sum(size for _, _, size in own),
        sha256=own[0][1] if own[0][0] == path else joint_checksum([digest for _, digest, _ in own]),
    )


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
