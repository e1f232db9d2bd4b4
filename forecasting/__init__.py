"""Forecasting: 1D CNN, LSTM and Transformer behind sktime, series, benchmark; `anomaly` builds on them."""
