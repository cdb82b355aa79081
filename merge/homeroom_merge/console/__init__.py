"""Pages about merges, and the frame in which every console of homeroom shows its pages."""
