"""C sources that ship to the device, and the Python loader."""
