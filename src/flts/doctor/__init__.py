"""What is wrong here and how to mend it: one file per thing that is looked at, each a function that yields findings."""
