"""Fine-tuning of mask models."""
