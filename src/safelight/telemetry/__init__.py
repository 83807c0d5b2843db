"""One finished request, and who writes it down."""
