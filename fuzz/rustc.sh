#!/bin/sh
# A RUSTC_WRAPPER for cargo-fuzz that compiles arithmetic without coverage and debug assertions: it
# has no branches that an input could find, and with them three quarters of a run go into it.
rustc=$1
shift
case " $* " in
*" --crate-name curve25519_dalek "* | *" --crate-name blake2 "* | *" --crate-name poly1305 "*)
    for argument; do
        shift
        case $argument in
        -Cpasses=sancov-module | -Cllvm-args=-sanitizer-coverage-* | -Cdebug-assertions) ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    ;;
esac
exec "$rustc" "$@"
