"""How one gets a session: clients, grants, the authorize page, assertions, who one is."""
