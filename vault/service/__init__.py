"""Use cases, one module each. They know the policy, the seals and the trail, and no gRPC."""
