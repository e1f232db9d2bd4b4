"""Anomalies: detectors, and counterfactuals that say what would have been normal."""
