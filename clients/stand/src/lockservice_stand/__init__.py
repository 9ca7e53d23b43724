"""Tests the clients of every language against real services, and against faults that these do not have."""
