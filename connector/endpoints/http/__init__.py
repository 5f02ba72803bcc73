"""A system that an api file describes, as an Endpoint. `api` alone needs no network: lint imports it, too."""
