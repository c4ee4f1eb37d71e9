"""Turns configuration files into an account, and reports every mistake with its file and line.

load             from a YAML file to an account
yaml_lines       from YAML to plain data with line numbers
serverless_devs  from an `s.yaml` of Serverless Devs to an account
translation      an account as plain data, with its findings and origins
validation       explains what is wrong with a configuration
advice           warns about settings that will cause trouble in the cloud
overrides        a configuration with some keys overridden, for tests
access_keys      the key pairs that may sign requests
source_lines     the line of a function, trigger or domain in the file
env_file         the variables in `fcemu.envFile`
"""
