"""`flts doctor`: one file per thing that is checked, each with functions that yield findings."""
