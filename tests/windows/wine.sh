#!/usr/bin/env bash
# Builds the program for Windows on Linux, and runs its tests under Wine: what it does with files, paths and consoles there,
# the window, and the shaders on lavapipe, through Vulkan or through Direct3D 12.
#     tests/windows/wine.sh                            all of them
#     tests/windows/wine.sh --test commands classify   as cargo test takes it
#     DIRECT3D=DIR tests/windows/wine.sh --test ops    through Direct3D 12, with DIR/d3dcompiler_47.dll
#
# d3dcompiler_47.dll is Windows 10's or 11's; Wine's own does not know compute shaders. Direct3D 12 needs Wine 10, whose vkd3d
# gives it to lavapipe.
#
# Debian: apt install gcc-mingw-w64-x86-64 wine wine64 xvfb xauth mesa-vulkan-drivers, and rustup target add
# x86_64-pc-windows-gnu. What Wine cannot show: a file that is replaced while somebody reads it; the time that Windows grants
# a console's programs to end.
set -euo pipefail
[ -z "${DIRECT3D:-}" ] || DIRECT3D="$(cd "$DIRECT3D" && pwd)"
cd "$(dirname "$0")/../.."
export WINEPREFIX="${WINEPREFIX:-$PWD/target/wine}" WINEDEBUG=-all
mkdir -p "$WINEPREFIX"
xvfb-run -a wineboot --init >/dev/null 2>&1
prng="$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
[ -e "$prng" ] || x86_64-w64-mingw32-gcc -shared -o "$prng" tests/windows/prng.c -ladvapi32

export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine WGPU_BACKEND=vulkan INKGRAD_REQUIRE_GPU=1
if [ -n "${DIRECT3D:-}" ]; then
    cp "$DIRECT3D/d3dcompiler_47.dll" "$WINEPREFIX/drive_c/windows/system32"
    export WGPU_BACKEND=dx12 WGPU_DX12_COMPILER=fxc WINEDLLOVERRIDES=d3dcompiler_47=n
fi
xvfb-run -a cargo test --release --no-fail-fast --target x86_64-pc-windows-gnu "$@"
