"""The README of a rendered set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from endofm._version import __version__
from endofm.files import write_text
from endofm.synthetic.clip_record import ClipRecord
from endofm.synthetic.set_plan import SPLITS, SetSettings
from endofm.synthetic.specs import NOTICE

README_NAME = "README.md"


def command_of(settings: SetSettings) -> str:
    """Return the command that reproduces a set."""
    render = settings.render
    parts = [
        f"endofm data synth OUT --task {settings.task} --clips {settings.clips}",
        f"--size {render.width}x{render.height} --frames {render.num_frames} --fps {render.fps:g}",
        f"--patients {settings.patients} --positive {settings.positive:g} --difficulty {render.difficulty:g}",
        f"--seed {render.seed} --split {','.join(f'{fraction:g}' for fraction in settings.split)}",
    ]
    if settings.task == "segmentation":
        parts.append(f"--layout {'published' if settings.published_layout else 'folders'}")
    return " ".join(parts)


def write_readme(root: Path, settings: SetSettings, records: Sequence[ClipRecord], layout: str, sheet: str) -> None:
    """Write ``README.md`` of a set.

    Args:
        root: The set's folder.
        settings: Settings of the set.
        records: The clips.
        layout: List of the files, in Markdown.
        sheet: Name of the contact sheet.
    """
    rows = []
    for split in SPLITS:
        subset = [record for record in records if record.split == split]
        if subset:
            patients = len({record.patient for record in subset})
            polyps = sum(record.label for record in subset)
            frames = sum(len(record.frames) for record in subset)
            visible = sum(frame is not None for record in subset for frame in record.frames)
            rows.append(f"| {split} | {patients} | {len(subset)} | {polyps} | {frames} | {visible} |")
    kinds = Counter(record.kind for record in records)
    text = f"""# Synthetic endoscopy, {settings.task} layout

**{NOTICE}**

Every frame was computed from random numbers; no real image was used. Results on this set say nothing about results on
patients.

![contact sheet]({sheet})

Rendered by endofm {__version__} with

```
{command_of(settings)}
```

## Files

{layout}
- `manifest.json`: the parameters of every patient and clip, the polyp's box in every frame, and sha256 of every file.
- `{sheet}`: one frame of each of some clips, the polyp outlined in green.

## Counts

| subset | patients | clips | with polyp | frames | frames with polyp |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Subsets share no patient. Kinds: {", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))}.
"""
    write_text(root / README_NAME, text)
