"""Sources of frames, which never travel without their times; clip sampling; writing videos."""
