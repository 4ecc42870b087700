"""The adapter folder: its reference, manifest, card, bytes and checks. It knows no torch and no registry."""
