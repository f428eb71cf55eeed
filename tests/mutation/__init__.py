"""How much of a change to the judge's arithmetic and to the hashes the tests notice."""
