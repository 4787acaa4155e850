"""HTTP to vendors: requests, retries, limits, errors, downloads, webhooks' signatures."""
