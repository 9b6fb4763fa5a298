"""What the commands share: options, data, shapes, timing, and how results are written and rendered."""
