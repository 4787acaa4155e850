"""The pages of trainings."""
