"""Stand-ins for the world that tests share: real servers on loopback whose behaviour is scripted."""
