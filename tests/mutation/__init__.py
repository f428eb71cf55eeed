"""Mutation tests of the judge's arithmetic and the hashes: which small changes the tests notice."""
