"""A stand-in for the Hugging Face Hub and its router."""
