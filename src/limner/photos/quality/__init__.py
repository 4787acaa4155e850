"""What a photo is like, and which photos are the same."""
