"""A LoRA in another tensor naming."""
