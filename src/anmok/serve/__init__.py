"""The service: `anmok serve`."""
