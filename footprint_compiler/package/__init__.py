"""Finished builds in the form that other build systems take: CMake, Zephyr, Arduino and so on."""
