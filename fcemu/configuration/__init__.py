"""From files to an account: every mistake with its file and line.

load             YAML to an account
yaml_lines       what YAML says, and on which line
serverless_devs  `s.yaml` of Serverless Devs to an account
translation      what a translation gives: keys, remarks, and where each came from
validation       what is wrong with a configuration, in words
advice           what will hurt in the cloud
overrides        one configuration with other values, for tests
access_keys      which key pairs may sign requests
source_lines     where in the file a function or trigger stands
env_file         the variables of `fcemu.envFile`
"""
