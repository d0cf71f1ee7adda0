"""What a run writes, typed: where each thing lies, and what stands in it. Imports neither torch nor Ray."""
