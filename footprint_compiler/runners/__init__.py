"""Running an artifact: on this machine, or in an emulator."""
