"""Build the report: one HTML file with tables, curves and every run."""
