"""gRPC: plumbing between bytes and use cases. The only room in the server that knows it."""
