"""Tables, connections and migrations of the hub's database."""
