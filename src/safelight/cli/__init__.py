"""The command line: parse options, call the packages below, print the result."""
