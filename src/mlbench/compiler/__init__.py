"""From a graph to what runs: the pipeline of passes, the schedule, the memory plan, and machine code."""
