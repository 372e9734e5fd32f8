"""Networks: named, built, loaded, and made fast."""
