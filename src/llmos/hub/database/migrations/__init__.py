"""Changes of the tables, in order; see `llmos.hub.database.migrate`."""
