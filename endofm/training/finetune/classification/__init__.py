"""Fine-tuning of video classifiers."""
