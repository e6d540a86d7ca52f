"""The service: an HTTP API and a web page in front of encoders, collections and label sets.

app.create_app(settings)    a FastAPI application; `anmok serve` runs it (run.py)
settings.ServiceSettings    what it serves, and the limits that keep it standing

Nothing is imported here: the processes that decode pictures begin in this package and need next to nothing of it.
"""
