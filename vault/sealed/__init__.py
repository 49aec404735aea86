"""What lies inside the seals: messages generated from protos/vault/sealed/."""
