"""Real servers on one machine without containers, from packages of the extra `dev`. Not for production."""
