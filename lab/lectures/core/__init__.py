"""The heart of the lectures: DQN, time series, Transformers, anomalies and counterfactuals."""
