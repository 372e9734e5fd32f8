"""What every other room uses: errors, options, settings, run specifications, plugins, files. Imports no torch."""
