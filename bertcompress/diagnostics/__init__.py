"""Instruments for a search space: interference, interventions, and how well scores rank children."""
