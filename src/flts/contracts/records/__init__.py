"""Every stored JSON object as a type, parsed in one place, with one way to upgrade an older version.

base      how a record is parsed, upgraded and written
data      processed rows
model     a fitted model, its test forecasts, its bundle
run       the parts of a run
decision  a decision, its scoreboard and its preview
log       the promotion log
answer    a line of a batch forecast
"""
