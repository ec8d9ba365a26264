"""Personal data and secrets in texts: found by form and checksum, then masked."""
