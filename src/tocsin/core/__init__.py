"""The functional core: values in, values out. No clock, no chance, no I/O, no async, no framework."""
