"""Networks to start from: named, described, built."""
