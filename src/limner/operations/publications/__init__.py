"""Publications: LoRAs on hubs, and their cards."""
