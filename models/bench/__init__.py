"""`earwitness bench`: the front end and the models, measured beside others."""
