#!/usr/bin/env bash
# Stands before the compiler for crates of the workspace while fuzzing: the libraries that are fuzzed count their edges.
case " $* " in
    *" --crate-name wire "*|*" --crate-name edge_agent "*|*" --crate-name cloud_receiver "*)
        exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *" --crate-name fuzz"*) exec "$@" --cfg fuzzing ;;
    *) exec "$@" ;;
esac
