"""Does a method keep what every method promises? Small trainings on made data, and what they show."""
