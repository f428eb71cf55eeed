"""Real servers on one machine without containers, from packages of the extra `stack`. Not for production."""
