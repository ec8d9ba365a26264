"""Joint runs, signed results, members' contributions, licences and lineage."""
