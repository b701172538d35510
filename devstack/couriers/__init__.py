"""A simulator of the couriers: their tracking on a real port, and their webhooks.

It is an independent reading of the couriers' documents and shares no code with what decodes their messages.
"""
