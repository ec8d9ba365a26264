"""Trees and commits with the same ids that git would give them, kept in SQL."""
