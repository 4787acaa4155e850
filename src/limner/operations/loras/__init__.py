"""LoRAs: versions, adopting files from elsewhere, exporting, inspecting."""
