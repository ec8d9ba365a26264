"""People, organisations, tokens, rights, and the log of who did what."""
