"""Rules that a web text has to meet: Gopher's, C4's and FineWeb's, for text in any script."""
