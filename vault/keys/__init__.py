"""The keyring of a compartment, and the key server behind it."""
