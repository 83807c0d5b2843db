"""Measurements of input and output images, and the types of instructions."""
