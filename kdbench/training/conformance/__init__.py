"""Does a method do what a method must? The checks behind kdbench check-method."""
