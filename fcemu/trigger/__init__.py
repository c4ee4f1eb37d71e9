"""May this request enter, and to what?

request         a request's line and headers
routing         from host and path to function, trigger and qualifier
limits          the documented sizes
cors            the default CORS headers
admission       the order in which refusals apply
affinity        the session of a request
authentication  the authenticator of a trigger or a custom domain
signature       signed requests
jwt_auth        JSON Web Tokens
claims          from a token's claims to parameters of the request
bearer_auth     opaque tokens
basic_auth      user and password

Nothing here does I/O; every refusal is an `FCError`, a row of `fcemu.errors.Refusal`.
"""
