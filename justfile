# Everyday commands. `just` lists them. They use .venv, which `just install` creates.

set positional-arguments

bin := justfile_directory() / ".venv/bin"

# list the recipes
[private]
default:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# create .venv with fcemu and everything its developers need
install:
    python3 -m venv .venv
    {{ bin }}/pip install --quiet --upgrade pip
    {{ bin }}/pip install --quiet --editable . --group dev

# run all tests, or the given ones: just test tests/unit/test_clock.py -k advance
test *arguments:
    {{ bin }}/pytest {{ if arguments == "" { "-n 4 --dist loadgroup" } else { "" } }} "$@"

# run the unit tests
unit *arguments:
    {{ bin }}/pytest tests/unit "$@"

# check style and format
style:
    {{ bin }}/ruff check .
    {{ bin }}/ruff format --check .

# check types
types:
    {{ bin }}/mypy

# run the checks that every change must pass
gate:
    .ci/run

# run the benchmarks: just bench --quick
bench *arguments:
    {{ bin }}/python -m benchmarks "$@"
