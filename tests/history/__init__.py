"""Histories of many calls, judged by a model."""
