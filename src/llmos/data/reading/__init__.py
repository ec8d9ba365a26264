"""Reading every kind of source for `llmos data prepare`: tolerant, streaming, in chunks."""
