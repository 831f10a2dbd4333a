"""Stand-ins for the services that the tests and the demo talk to."""
