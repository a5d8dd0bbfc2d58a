#!/usr/bin/env bash
# Compiles every shader with Microsoft's compilers for Direct3D 12, under Wine: those of the op table, in all layouts, and
# those of the built-in networks' training steps.
#     tests/windows/hlsl.sh DIR
#
# DIR has d3dcompiler_47.dll of Windows 10 or 11 (which wgpu uses where there is no other), dxcompiler.dll with dxil.dll
# (Microsoft/DirectXShaderCompiler), or all of them. Prints the shaders that a compiler refuses, and for each network how many
# it has and how long they take one after another; the program compiles them on all cores.
#
# Debian: apt install gcc-mingw-w64-x86-64 wine wine64 xvfb xauth.
set -euo pipefail
compilers="$(cd "${1:?the folder with the compilers}" && pwd)"
cd "$(dirname "$0")/../.."
export WINEPREFIX="${WINEPREFIX:-$PWD/target/wine}" WINEDEBUG=-all
mkdir -p "$WINEPREFIX"
xvfb-run -a wineboot --init >/dev/null 2>&1

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
x86_64-w64-mingw32-gcc -O2 -o "$work/hlsl.exe" tests/windows/hlsl.c
INKGRAD_HLSL="$work" cargo test --quiet --release --test shaders >/dev/null

refused=0 compilers_run=0
for compiler in fxc:d3dcompiler_47.dll dxc:dxcompiler.dll; do
    kind="${compiler%%:*}" library="${compiler#*:}"
    if [ ! -e "$compilers/$library" ]; then
        echo "SKIPPED: no $library in $compilers"
        continue
    fi
    compilers_run=$((compilers_run + 1))
    # Wine has a d3dcompiler_47.dll of its own, which it prefers under that name.
    cp "$compilers/$library" "$work/compiler.dll"
    [ ! -e "$compilers/dxil.dll" ] || cp "$compilers/dxil.dll" "$work"
    echo "$library:"
    (cd "$work" && find "$kind" -name '*.hlsl' | sort | wine hlsl.exe compiler.dll | tr -d '\r' > compiled) || refused=1
    grep -B3 ' REFUSED$' "$work/compiled" || true
    grep -E '^[0-9.]+ [a-z]+/' "$work/compiled" | awk '{
        split($2, part, "/"); kernels[part[2]]++; ms[part[2]] += $1
        if ($1 > longest[part[2]]) longest[part[2]] = $1
    } END {
        for (of in ms) printf "  %-22s %5d kernels %7.1f s, longest %4.1f s\n", of, kernels[of], ms[of] / 1e3, longest[of] / 1e3
    }' | sort
done
[ "$compilers_run" -gt 0 ] || { echo "no compiler in $compilers"; exit 1; }
exit "$refused"
