"""Feedback: what was answered, what people said of it, which texts of it are kept. It knows no server and no torch."""
