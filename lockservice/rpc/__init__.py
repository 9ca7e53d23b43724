"""The edge that knows gRPC: translate, validate, answer."""
