"""What generated code executes, counted exactly from its bytes."""
