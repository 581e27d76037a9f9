"""Rows measured in separate processes: the cost of the import, and the memory of a long file."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.footage import SECONDS, repeat
from benchmarks.table import Row
from endofm.errors import EndoFMError

_IMPORT = "import resource; {}; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
_EXTRACT = """
import json, resource, sys, torch, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from endofm import EncoderConfig, EndoFM, ModelConfig

STATUS = Path("/proc/self/status")

def megabytes(field):
    if STATUS.exists():  # ru_maxrss would begin with the peak of the process that started this one
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ":"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)

model = EndoFM(ModelConfig(encoder=EncoderConfig.preset("tiny"), trained=False)).eval()
with torch.inference_mode():
    model(torch.zeros(4, 3, 8, 224, 224))  # the encoder's working memory counts as part of the model
loaded = megabytes("VmHWM")
features = model.extract_features(sys.argv[1], batch_size=4, progress=False)
print(json.dumps({"clips": len(features), "loaded": loaded, "above": megabytes("VmHWM") - loaded}))
"""


def import_row(*, rounds: int) -> Row:
    """Measure CPU seconds of ``import torch, endofm`` beyond ``import torch``, in fresh processes."""
    extra = []
    for _ in range(rounds + 1):
        alone, both = (float(_output([_IMPORT.format(f"import {names}")])) for names in ("torch", "torch, endofm"))
        extra.append(both - alone)
    low, middle, high = statistics.quantiles(extra[1:], n=4) if rounds > 1 else extra[1:] * 3
    return Row(
        name="import endofm beyond import torch", unit="s", floor=0.2, goal=0.1, value=middle, low=low, high=high
    )


def memory_row(folder: Path, *, minutes: float) -> Row:
    """Measure the peak above a loaded (tiny) model while features of a long 1080p file are extracted.

    Args:
        folder: Folder of the rendered clip ``1080p.mp4``.
        minutes: Length of the file.
    """
    long = folder / "hour.mp4"
    repeat(folder / "1080p.mp4", long, max(round(minutes * 60 / SECONDS), 1))
    found = json.loads(_output([_EXTRACT, str(long)]))
    long.unlink()
    note = f"{found['clips']} clips in batches of 4, tiny encoder ({found['loaded']:.0f} MB loaded)"
    if minutes < 60:
        note += f", {minutes:g} minutes only"
    return Row(
        name="1-hour 1080p file, peak above the loaded model", unit="MB", floor=400, goal=250, value=found["above"],
        note=note,
    )  # fmt: skip


def _output(arguments: list[str]) -> str:
    result = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise EndoFMError(f"a process of the benchmark failed: {result.stderr.strip().splitlines()[-1:]}")
    return result.stdout
