"""Studies: comparisons of objectives, backbones and transfer methods at equal budgets on rendered video.

``python -m studies STUDY --size SIZE`` runs one. What all studies share (cells that are kept, seeds, tables, plots,
pages) is in ``study.py`` and ``study_report.py``; each study is one file next to them, with its configurations in
``configs/``. The results that the documentation shows are in ``results/``.
"""
