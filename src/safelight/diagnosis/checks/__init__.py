"""What can be wrong: each check is a row of a table, and a pure function of the evidence."""
