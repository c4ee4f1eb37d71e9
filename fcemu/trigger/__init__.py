"""May this request enter, and to what?

request         what a request says before its body
routing         host and path to function, trigger and qualifier
limits          the documented sizes
cors            the default cross-origin answers
admission       the one order in which a request is refused
affinity        which session does a request belong to?
authentication  which check guards a trigger or a domain?
signature       signed requests
jwt_auth        JSON Web Tokens
claims          what a token's claims become
bearer_auth     opaque tokens
basic_auth      user and password

Nothing here does I/O; every refusal is an `FCError`, a row of `fcemu.errors.Refusal`.
"""
