"""The serving path, which trainer, judge and servers share: bundle, model, intervals."""
