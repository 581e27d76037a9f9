"""What a pre-training run optimises, and the parts that objectives share."""
