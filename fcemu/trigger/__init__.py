"""May this request enter, and to what?

request     what a request says before its body
routing     host and path to function, trigger and qualifier
limits      the documented sizes
cors        the default cross-origin answers
admission   the one order in which a request is refused

Nothing here does I/O; every refusal is an `FCError`, a row of `fcemu.errors.Refusal`.
"""
