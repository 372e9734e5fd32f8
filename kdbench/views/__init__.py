"""What a person sees: how stored things are printed. Nothing here decides anything."""
