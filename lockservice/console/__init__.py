"""The operators' page, and the live picture of the service that it shows."""
