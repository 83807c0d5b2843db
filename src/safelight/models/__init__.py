"""Makes images: one backend per family, behind one protocol."""
