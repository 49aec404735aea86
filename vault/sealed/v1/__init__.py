"""Generated from protos/vault/sealed/v1: `make proto`."""
