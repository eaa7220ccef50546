# draw.sh - a picture drawn by gnuplot twice: NAME.svg for the web, NAME.png for the rest. Sourced by the plot scripts beside it,
# by jobs/reproduce, jobs/minilaion and jobs/quickstart.sh.
# shellcheck shell=bash

# need_gnuplot: or the script that sources this ends
need_gnuplot() {
    command -v gnuplot >/dev/null || { echo "$(basename "$0"): gnuplot is missing (bash slurm/env/debian.sh --plots)" >&2 && exit 78; }
}

# draw NAME WIDTH HEIGHT FONT: gnuplot's commands are on standard input; the PNG is half as large again, its letters a quarter. Font in
# points.
draw() {
    local name=$1 width=$2 height=$3 font=$4 commands kind terminal
    commands=$(cat)
    for kind in svg png; do
        terminal="svg size $width,$height dynamic background '#ffffff'"
        [ "$kind" = svg ] || terminal="pngcairo size $((width * 3 / 2)),$((height * 3 / 2)) fontscale 1.25"
        gnuplot <<END || return
set terminal $terminal font 'sans,$font'
set output '$name.$kind'
$commands
END
    done
}
