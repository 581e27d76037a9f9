"""Studies: comparisons of pre-training and of transfer methods at equal cost.

``python -m studies real run`` continues the study on real images (``real_study``). Studies of an arm and a seed share
cells that are kept, tables, plots and pages (``study.py``, ``study_report.py``). The results that the documentation
shows are in ``results/``.
"""
