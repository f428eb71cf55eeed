"""Every JSON object in the store as a type: one place that parses it, one way to upgrade an older one.

base      how a record is parsed, upgraded and written
data      processed rows
model     a fitted model, its test forecasts, its bundle
run       the parts of a run
decision  a decision, its scoreboard and its preview
log       the promotion log
answer    a line of a batch forecast
"""
