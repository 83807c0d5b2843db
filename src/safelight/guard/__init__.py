"""Judge a model by its outputs: is it still right, and is another one better? Arithmetic only."""
