"""One suite per port of `tocsin.ports`: whoever plays the part passes it, the fakes too."""
