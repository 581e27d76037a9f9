"""What `import endofm` costs beyond `import torch`, in CPU seconds of fresh processes.

python benchmarks/import_time.py --rounds 9
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CODE = "import resource; {imports}; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
CANDIDATES = {
    "torch": "import torch",
    "torch, endofm": "import torch, endofm",
    "torch, endofm.EndoFM": "import torch; from endofm import EndoFM",
    "endofm alone": "import endofm",
}


def cpu_seconds(imports: str) -> float:
    command = [sys.executable, "-c", CODE.format(imports=imports)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for _ in range(args.rounds + 1):
        for name, imports in CANDIDATES.items():
            times[name].append(cpu_seconds(imports))
    print("| import | over `import torch`, s | of `import torch` |\n|---|---:|---:|")
    for name, measured in times.items():
        pairs = list(zip(measured, times["torch"], strict=True))[1:]  # the first round fills the file cache
        extra = statistics.median(a - b for a, b in pairs)
        print(f"| {name} | {extra:+.3f} | {statistics.median(a / b for a, b in pairs):.2f}x |")


if __name__ == "__main__":
    main()
