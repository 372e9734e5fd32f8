"""Building blocks for distillation methods: base classes, losses, frozen teachers, bilevel derivatives."""
