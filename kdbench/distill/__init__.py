"""What a distillation method is written with: its base class, losses, teachers, bilevel derivatives."""
