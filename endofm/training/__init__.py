"""Pre-training and fine-tuning; needs the extra ``train``. Nothing else in the package imports it."""
