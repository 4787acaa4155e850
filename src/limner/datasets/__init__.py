"""Stage 2: captions, buckets and crops, frozen into datasets that never change, and packaged for trainers."""
