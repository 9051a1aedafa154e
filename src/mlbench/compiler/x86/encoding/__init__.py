"""The bytes of instructions: the assembler, the two sets of vector instructions, the calling convention, and memory that code runs in."""
