"""The page for people: the champion and why it serves, the scoreboard with its doubts, a forecast of a pasted CSV."""
