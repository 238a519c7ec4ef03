"""Tables: what every database of Tocsin keeps, and what is asked of it."""
