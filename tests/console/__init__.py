"""Tests of the console in a real browser, and what draws its screenshots."""
