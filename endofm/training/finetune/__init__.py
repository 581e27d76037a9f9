"""Fine-tuning: recipe, transfer, export and seeds shared by all tasks, and a folder per task."""
