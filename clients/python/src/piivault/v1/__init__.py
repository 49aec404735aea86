"""Generated from protos/piivault/v1: `make proto`."""
