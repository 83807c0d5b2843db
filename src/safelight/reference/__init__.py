"""Reference pages: Markdown that is generated from the code."""
