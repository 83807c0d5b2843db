"""The files that `safelight export` and `safelight up` write."""
