"""Files over HTTP: forms with photos and LoRAs, and sending files."""
