#!/usr/bin/env bash
# Holds the C kernels to the recorded vectors: natively, and built for aarch64 and run under emulation.
#
#     tests/aarch64/run.sh > tests/aarch64/recorded-run.txt
#
# Tests read that record, and want it made again whenever neon.c or the vectors change.
set -uo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

there() { # command, Debian packages that have it
    command -v "$1" > /dev/null && return
    echo "$1 is not there; on Debian: apt-get install $2" >&2
    failed=1
    return 1
}

held() { # how to run it (nothing, or an emulator), compiler, flags...
    local emulator=$1
    shift
    echo
    echo "== $*${emulator:+, under $emulator} =="
    "$@" -O3 -fopenmp-simd -Wall -Wextra -Werror -Wno-pass-failed -I_core _core/*.c tests/aarch64/driver.c -lm -o "$work/driver" &&
        ASAN_OPTIONS=detect_leaks=0 $emulator "$work/driver" tests/aarch64/vectors.bin || failed=1
}

undefined="-fsanitize=undefined,float-cast-overflow -fno-sanitize-recover=all"
trapped="-fsanitize=undefined,float-cast-overflow -fsanitize-trap=all" # needs no library for the other processor

date -u +%Y-%m-%d
sha256sum _core/neon.c tests/aarch64/vectors.bin
for tool in aarch64-linux-gnu-gcc qemu-aarch64 gcc clang; do
    command -v $tool > /dev/null && $tool --version | head -1
done

there gcc gcc && held "" gcc && held "" gcc -fsanitize=address $undefined
there clang clang && held "" clang
if there qemu-aarch64 qemu-user && there aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"; then
    held qemu-aarch64 aarch64-linux-gnu-gcc -static
    held qemu-aarch64 aarch64-linux-gnu-gcc -static $undefined
    held "qemu-aarch64 -L /usr/aarch64-linux-gnu" aarch64-linux-gnu-gcc -fsanitize=address
    if there clang clang; then
        held qemu-aarch64 clang --target=aarch64-linux-gnu -static
        held qemu-aarch64 clang --target=aarch64-linux-gnu -static $trapped
    fi
fi
echo
[ $failed = 0 ] && echo "all of it passed" || echo "NOT all of it passed"
exit $failed
