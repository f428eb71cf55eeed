"""What trainer, judge and servers share: bundles, the serving path and intervals."""
