"""The function in an author's own tests.

kit              what the fixture `fc` can do
pytest_plugin    what pytest loads at every start
pytest_fixtures  the fixtures, loaded with the first test
"""
