#!/usr/bin/env bash
# Drives the real window under Xvfb with mouse and keys, checks what it reads, and takes the README's screenshots.
#
#   tests/window/drive.sh [path/to/inkgrad] [folder for the screenshots] [folder for those at other sizes]
#
# Needs Xvfb, xdotool and ImageMagick's import (Debian: xvfb xdotool imagemagick), and a Vulkan driver (lavapipe does).
# The window says in its title what it reads, which is how this script knows: "inkgrad: 7, 99.2 %; then 2, 0.3 %".
set -euo pipefail

program=$(realpath "${1:-target/release/inkgrad}")
shots=$(realpath -m "${2:-docs/window}")
for tool in Xvfb xdotool import; do
    command -v "$tool" >/dev/null || { echo "drive.sh: needs $tool (Debian: xvfb xdotool imagemagick)" >&2; exit 2; }
done
work=$(mktemp -d)
failed=${TMPDIR:-/tmp}/inkgrad-window-failed.png
others=$(realpath -m "${3:-$work/others}")
mkdir -p "$shots" "$others" "$work/run"
# Nothing of the person's own settings is read or changed.
export XDG_CONFIG_HOME="$work/config" XDG_CACHE_HOME="$work/cache" XDG_RUNTIME_DIR="$work/run" HOME="$work"
unset WAYLAND_DISPLAY WAYLAND_SOCKET
cd "$work"

display=":$((90 + RANDOM % 900))"
Xvfb "$display" -screen 0 3840x2160x24 -nolisten tcp -noreset >/dev/null 2>&1 &
server=$!
export DISPLAY="$display"
app=
end() { [ -z "$app" ] || kill "$app" 2>/dev/null || true; kill "$server" 2>/dev/null || true; rm -rf "$work"; }
trap end EXIT
for _ in $(seq 100); do xdotool getdisplaygeometry >/dev/null 2>&1 && break; sleep 0.1; done

fail() { echo "drive.sh: $1" >&2; import -window root "$failed"; echo "see $failed" >&2; exit 1; }

# Opens the window: panel, theme, width and height in points, scale.
open() {
    local panel=$1 theme=$2 width=$3 height=$4 scale=$5
    mkdir -p "$XDG_CONFIG_HOME/inkgrad"
    printf 'panel = "%s"\ntheme = "%s"\nsize = [%s.0, %s.0]\n' "$panel" "$theme" "$width" "$height" \
        > "$XDG_CONFIG_HOME/inkgrad/window.toml"
    WINIT_X11_SCALE_FACTOR=$scale RUST_LOG=${log:-error} "$program" app "${model:-best}" --device cpu --models "$work/runs" 2> "$work/log" &
    app=$!
    window=
    for _ in $(seq 300); do
        window=$(xdotool search --onlyvisible --pid "$app" 2>/dev/null | head -1 || true)
        [ -n "$window" ] && break
        kill -0 "$app" 2>/dev/null || { cat "$work/log" >&2; fail "the program has ended"; }
        sleep 0.1
    done
    [ -n "$window" ] || fail "no window within 30 s"
    eval "$(xdotool getwindowgeometry --shell "$window")"
    left=$X top=$Y factor=$scale
    xdotool windowfocus "$window" 2>/dev/null || true
    sleep 2
}
# By a signal, on which it writes what it is to remember.
close() { kill "$app" 2>/dev/null || true; wait "$app" 2>/dev/null || true; app=; }

title() { xdotool getwindowname "$window"; }
# Takes a picture: the panels as the README has them are kept apart from others.
shot() {
    local folder=$others
    case $1 in draw | inside | dream | train) folder=$shots ;; esac
    sleep "${2:-0.7}"
    import -window "$window" "$folder/$1.png"
    echo "$folder/$1.png"
}
key() { xdotool key --window 0 "$1"; sleep 0.25; }
# Moves to a point, in points of the window.
move() { xdotool mousemove $((left + $1 * factor)) $((top + $2 * factor)); }
click() { move "$1" "$2"; sleep 0.1; xdotool click 1; sleep 0.25; }

# Waits for a title that begins so, with more than 90 %.
reads() {
    local said percent
    for _ in $(seq 100); do
        said=$(title)
        if [[ "$said" =~ ^inkgrad:\ $1,\ ([0-9]+)\.[0-9]\ % ]]; then
            percent=${BASH_REMATCH[1]}
            [ "$percent" -ge 90 ] && { echo "reads $1: $said"; return; }
        fi
        sleep 0.1
    done
    fail "expected a $1 with over 90 %, the title says: $said"
}
blank() {
    for _ in $(seq 50); do [ "$(title)" = inkgrad ] && return; sleep 0.1; done
    fail "the field should be blank, the title says: $(title)"
}

# Draws a stroke through points of the field, in thousandths of its side. Where the field lies: field_x, field_y, side.
stroke() {
    local first=1 point x y
    for point in "$@"; do
        x=$((field_x + side * ${point%,*} / 1000)) y=$((field_y + side * ${point#*,} / 1000))
        move "$x" "$y"
        if [ $first = 1 ]; then sleep 0.05; xdotool mousedown "${button:-1}"; first=0; fi
        sleep 0.03
    done
    xdotool mouseup "${button:-1}"
    sleep 0.15
}
seven() { stroke 280,250 500,250 700,250 660,350 620,450 570,540 520,620 480,710 450,800; }
three() { stroke 330,250 450,180 600,200 660,300 600,420 480,480 620,530 680,650 620,770 470,820 320,760; }
four() { stroke 400,180 340,350 300,520 480,530 680,500; stroke 630,200 610,500 590,820; }

# The field in the Draw panel of a window of 1024 x 700 points.
field_x=12 field_y=80 side=536

echo "== the digits"
open draw light 1024 700 1
for digit in 3 7 4; do
    case $digit in 3) three ;; 7) seven ;; 4) four ;; esac
    reads $digit
    shot "drawn-$digit"
    [ $digit = 4 ] || { key Delete; blank; }
done

echo "== the keys of the original"
key Tab; key Caps_Lock; blank; echo "Tab keeps, Caps Lock clears"
key 1; reads 4; echo "1 recalls"
key 2; four
for _ in $(seq 50); do [[ "$(title)" = "inkgrad: 4,"* ]] || break; sleep 0.1; done
[[ "$(title)" != "inkgrad: 4,"* ]] || fail "2 should have changed to the eraser: $(title)"
echo "2 erases"
key 2; four; reads 4; key Caps_Lock; blank; echo "2 draws again"
seven; reads 7; key ctrl+z; blank; echo "Ctrl+Z takes a stroke back"
key ctrl+y; reads 7; echo "Ctrl+Y brings it again"

close

echo "== a signal closes it as its button does"
open draw light 1024 700 1
key F4
close
grep -q 'panel = "train"' "$XDG_CONFIG_HOME/inkgrad/window.toml" || fail "the open panel should have been remembered"

echo "== from pen to bars, avgcnn on the CPU device"
model=avgcnn log=inkgrad=debug open draw light 1024 700 1
three; key Delete; seven; key Delete; four; key Delete; three
sed -n 's/.*from pen to bars \([0-9.]*\) ms.*/\1/p' "$work/log" | sort -n > "$work/latencies"
count=$(wc -l < "$work/latencies")
at() { sed -n "$((count * $1 / 100 + 1))p" "$work/latencies"; }
echo "$count answers: median $(at 50) ms, 95 of 100 within $(at 95) ms"
awk -v most="$(at 95)" 'BEGIN { exit !(most < 16) }' || fail "95 of 100 should be shown within 16 ms"

echo "== idle"
sleep 2  # what the last key set going comes to rest
before=$(awk '{print $14 + $15}' "/proc/$app/stat"); sleep 5
after=$(awk '{print $14 + $15}' "/proc/$app/stat")
echo "in 5 idle seconds: $((after - before)) hundredths of a second of processor time"
[ $((after - before)) -le 5 ] || fail "an idle window should not compute"
close

# Every panel, at sizes and scales that people have.
panels() {
    local name=$1
    shift
    open draw "$@"
    three
    reads 3
    shot "draw$name"
    key F2
    click 118 338
    click 580 90
    # The nearest of 60,000 training digits, where there is room to show them.
    [ "$3" -lt 1000 ] || { click 53 657; sleep 25; }
    shot "inside$name" 1.5
    key F3
    shot "dream$name" 4
    key F4
    click 40 45
    shot "train$name" 12
    close
}
echo "== the panels"
panels "" light 1024 700 1
field_x=12 field_y=80 side=900
panels -large dark 1920 1080 1
field_x=12 field_y=80 side=536
panels -2x light 1024 700 2
