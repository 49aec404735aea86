"""piivault's server: personal data in compartments that can't be joined."""
