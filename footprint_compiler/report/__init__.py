"""What a finished build says about its memory: maps, tables, differences, advice."""
