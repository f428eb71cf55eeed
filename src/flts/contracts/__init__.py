"""What every part of FLTS agrees on: records, messages, names of objects, ports, events and errors."""
