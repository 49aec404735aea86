"""Storage: the only SQL. One database a compartment, and one for control."""
