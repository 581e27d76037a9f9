"""Pre-training and fine-tuning; needs the extra ``train``. No other part of the package imports it."""
