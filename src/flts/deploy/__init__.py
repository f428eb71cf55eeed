"""What a cluster needs of `flts`: values of the chart as an experiment, topics and buckets, secrets."""
