"""From results to what people read: tables, figures, the report, status."""
