"""Photos: intake, captions, crops, dataset health."""
