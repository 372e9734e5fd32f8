"""How tables and figures are written: text, Markdown, CSV, LaTeX, pictures."""
