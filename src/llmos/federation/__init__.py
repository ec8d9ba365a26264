"""Federation: the run protocol, its exchanges and strategies, comparison and verification."""
