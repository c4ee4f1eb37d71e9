"""An emulator in your own tests: `Kit`, and the pytest plugin with the fixture `fc`.

kit              `Kit`: an emulator with everything that a test can do with it
loop             runs the emulator's event loop in a thread of its own
clock            the clock that a test can advance
records          waits for records of the journal
accounts         what a kit serves
pytest_plugin    what pytest loads whenever it starts
pytest_fixtures  the fixtures, loaded only if the plugin is enabled
"""
