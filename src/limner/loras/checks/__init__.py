"""What a LoRA is, whether it is sound, and which base it fits."""
