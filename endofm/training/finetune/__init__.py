"""Fine-tuning of pretrained models on labelled data, one recipe per task."""
