"""What a table contains and what is odd about it, before anything is fitted: `flts data inspect`, `flts init`."""
