"""Read texts and labels from files of many formats, row by row."""
