"""LoKr and LoHa, and the nearest LoRA to one."""
