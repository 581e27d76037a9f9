"""The study on real images: what does pre-training bring at equal cost? See docs/real_study.md.

``python -m studies real run`` runs the next cells, ``python -m studies real report`` draws what is finished. The plan
is ``real.yaml``, the results are ``studies/results/real-study.json``.
"""
