"""What a LoRA file holds: header, tensors by their names, strength, metadata."""
