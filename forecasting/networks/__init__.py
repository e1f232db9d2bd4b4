"""The architectures, one a file: (batch, lookback, channels) -> (batch, horizon, channels)."""
