"""What tests share: small series, Specs and experiments that are quick to make and real enough to fail."""
