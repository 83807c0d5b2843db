"""Measure how often the guard's decisions are right, on simulated models."""
