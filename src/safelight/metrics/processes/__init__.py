"""Several worker processes on one port: each counts into a file that all of them read."""
