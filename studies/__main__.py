"""Command line of the studies: ``python -m studies real run``, or ``python -m studies STUDY --size SIZE``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from endofm.errors import EndoFMError
from endofm.training.config_files import load_config
from studies.study import Study, run_study
from studies.study_report import fill_page, save

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"

STUDIES = {"self-distillation": "studies.self_distillation:SelfDistillationStudy"}
"""Class of each study whose cells are an arm and a seed, as ``"module:attribute"``, imported when it is selected."""


def study_class(name: str) -> type[Study]:
    """Return the class of a study."""
    module, _, attribute = STUDIES[name].partition(":")
    found: type[Study] = getattr(import_module(module), attribute)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a study, or fill its page; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["real"]:
        # Its cells are of many tasks, and are kept in the repository: it has options of its own.
        from studies.real_study.command import main as run_real

        return run_real(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--size", default="mini", help="a configuration in studies/configs/STUDY (default: mini)")
    parser.add_argument("--config", type=Path, help="another configuration file")
    parser.add_argument("--out", type=Path, help="folder of the study (default: runs/STUDY-study/SIZE)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--media",
        type=Path,
        default=os.environ.get("ENDOFM_MEDIA"),
        help="folder of real clips, for studies that score them as well (default: ENDOFM_MEDIA)",
    )
    parser.add_argument("--fill-docs", type=Path, metavar="JSON", help="fill the study's page from a summary and exit")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, e.g. seeds=[0,1]")
    args = parser.parse_intermixed_args(arguments)
    cls = study_class(args.study)
    if args.fill_docs:
        summary = json.loads(args.fill_docs.read_text(encoding="utf-8"))
        command = f"python -m studies {args.study} --fill-docs {os.path.relpath(args.fill_docs)}"
        fill_page(DOCS / f"{args.study}_study.md", cls, summary, command=command)
        return 0
    sizes = sorted(path.stem for path in (HERE / "configs" / args.study).glob("*.yaml"))
    if args.config is None and args.size not in sizes:
        parser.error(f"--size {args.size}: the {args.study} study has the sizes {', '.join(sizes)}")
    file = args.config or HERE / "configs" / args.study / f"{args.size}.yaml"
    settings = load_config(cls.settings_class, file, args.overrides)
    root = args.out or Path("runs") / f"{args.study}-study" / file.stem
    source = f"--config {args.config}" if args.config else f"--size {args.size}"
    command = " ".join(["python -m studies", args.study, source, *args.overrides])
    study = cls(settings, root, media=args.media)
    summary, failed = run_study(study, workers=args.workers, command=command)
    paths = save(cls, summary, root, file.stem)
    print(cls.table(summary))
    print("\n".join(str(path) for path in paths))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EndoFMError as error:
        sys.exit(f"studies: {error}")
