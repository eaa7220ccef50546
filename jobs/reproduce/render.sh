# render.sh - a table of cells (TABLE.csv) as text (TABLE.md), as a picture of the table (TABLE_table.png, .svg) and as a plot
# (TABLE.png, .svg). Pictures need gnuplot. Sourced by main.sh.
# shellcheck shell=bash

# shellcheck source=results/draw.sh
source "$REPRODUCE/../../results/draw.sh"

# picture NAME WIDTH HEIGHT: gnuplot's commands are on standard input; names are not markup
picture() {
    {
        echo "set termoption noenhanced"
        local i=0 color
        for color in 8a8a8a 3a3a3a 2b6c99 c0392b 7d3c98 1e8449; do
            i=$((i + 1))
            echo "set linetype $i lc rgb '#$color'"
        done
        cat
    } | draw "$@" 11 || npr_die 74 "gnuplot could not draw $1"
}

# Which lines of the csv are shown: top-1, among all classes and among the subset.
TABLE_TITLE_table1="Table 1: zero-shot, top-1 in per cent"
TABLE_TITLE_table2="Table 2: distribution shift, top-1 in per cent"
TABLE_TITLE_fewshot="Few shots, top-1 in per cent (mean of the draws)"
TABLE_TITLE_poolsize="Pool size: rows of each class at most, top-1 in per cent"

table_title() {
    local title=TABLE_TITLE_$1 note
    note=$(get '' note)
    echo "${!title}${note:+. $note}"
}

# Which pool each data set's figures are made with, unless a line says otherwise.
filter_notes() {
    local s
    echo
    echo "Pool filters:"
    echo
    for s in "${conf_sections[@]}"; do
        ! is_shifted "$s" || continue
        echo "- $(paper_name "$s"): $(main_filter_text "$s")$([ -z "$(chosen_filter "$s")" ] || echo "; in lines that say so: $(chosen_text "$s") among $(filter_choices "$s" | sed 's/ /, /g')")"
    done
}

render_text() {
    local csv=$1.csv
    echo "# $(table_title "$(basename "$1")")"
    echo
    echo "From [$(basename "$csv")]($(basename "$csv")), which has the means over classes, too. Published: the paper's figure, or where the csv says so open_clip's."
    echo "Gain: over zero-shot with the same templates, on the same images. All intervals are 95 %; of few shots that of the mean over draws."
    [[ $1 == */poolsize ]] || filter_notes
    awk -F, '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["measure"] != "top1" { next }
        $1 != now { now = $1; printf "\n## %s\n\n| method | %s| published | ours | interval | ours - published | gain | alpha | pool rows |\n|---|%s---|---|---|---|---|---|---|\n",
            now, "", "" }
        {
            name = $at["method"]
            if ($at["x"] != "") name = name ", " $at["x"]
            if ($at["classes"] == "subset") name = name ", among the subset"
            if ($at["how"] != "") name = name " (" $at["how"] ")"
            range = $at["low"] == "no data" ? "no data" : $at["low"] " to " $at["high"]
            if ($at["sd"] != "") range = range ", sd " $at["sd"]
            gain = $at["gain"] == "" ? "" : $at["gain"] " (" $at["gain_low"] " to " $at["gain_high"] ")"
            alpha = $at["alpha"] == "" ? "" : sprintf("%.3g (%s)", $at["alpha"], $at["alpha_rule"])
            printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, $at["published"], $at["ours"], range, $at["difference"], gain, alpha, $at["pool_rows"]
        }' "$csv"
}

# grid_plots FILE: the kinds of text that are in it
grid_plots() {
    local kind plots=()
    declare -A look=([head]="using 1:2:3 with labels font 'sans,10'" [left]="using (-3.15):2:3 with labels left font 'sans,11'"
        [ours]="using 1:2:3 with labels tc rgb '#103a5c'" [range]="using 1:2:3 with labels tc rgb '#103a5c' font 'sans,8'"
        [paper]="using 1:2:3 with labels tc rgb '#a33a2a' font 'sans,9'" [none]="using 1:2:3 with labels tc rgb '#999999' font 'sans,9'")
    for kind in "${!look[@]}"; do
        ! grep -q $'\t'"$kind\$" "$1" || plots+=("of('$kind') ${look[$kind]}")
    done
    (IFS=, && echo "${plots[*]}")
}

# The picture of a table: a column per data set, a line per method.
render_table() {
    local base=$1 grid=$1.grid
    awk -F, -v OFS='\t' '
        function column(name) { if (!(name in col)) { col[name] = ++columns; print columns, 0, name, "head" } return col[name] }
        function line(name) { if (!(name in row)) { row[name] = ++rows; print 0, rows, name, "left" } return row[name] }
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["measure"] != "top1" { next }
        {
            name = $at["method"] ($at["x"] == "" ? "" : ", " $at["x"])
            d = $1
            if ($at["classes"] == "subset") d = d "\\n(subset)"
            else sub(/-/, "-\\n", d) # two lines at most
            c = column(d); r = line(name)
            seen[c, r] = 1
            if ($at["ours"] == "no data") print c, r - 0.22, "no data", "none"
            else {
                print c, r - 0.28, $at["ours"], "ours"
                print c, r + 0.02, $at["sd"] != "" ? "sd " $at["sd"] : sprintf("%.1f to %.1f", $at["low"], $at["high"]), "range"
            }
            if ($at["published"] ~ /[0-9]/)
                print c, r + 0.28, $at["published"] ($at["difference"] ~ /[0-9]/ ? " (" sprintf("%+.2f", $at["difference"]) ")" : ""), "paper"
            else if ($at["ours"] != "no data") print c, r + 0.28, $at["published"], "none"
        }
        END {
            for (c = 1; c <= columns; c++) for (r = 1; r <= rows; r++) if (!((c, r) in seen)) print c, r, "no data", "none"
            print columns, rows, "", "size" }' "$base.csv" >"$grid"
    local columns rows
    read -r columns rows < <(sed -n 's/^\(.*\)\t\(.*\)\t\tsize$/\1 \2/p' "$grid")
    picture "${base}_table" $((395 + 105 * columns)) $((90 + 46 * (rows + 1))) <<END
set title "$(table_title "$(basename "$base")")\nours with its 95 % interval (or deviation of the draws); red: published (and ours minus published)"
set lmargin 1
set rmargin 1
set tmargin 4
set bmargin 1
unset border
unset key
unset xtics
unset ytics
set xrange [-3.2:$columns + 0.6]
set yrange [$rows + 0.6:-0.5]
set datafile separator "\t"
of(kind) = sprintf("< awk -F'\\\\t' '\$4 == \"%s\"' '$grid'", kind)
do for [r=0:$rows] { set arrow from -3.2,r+0.5 to $columns+0.6,r+0.5 nohead lc rgb (r ? '#e4e4e4' : '#666666') }
plot $(grid_plots "$grid")
END
    rm "$grid"
}

# numbers CSV METHOD: data set's place, figure, low, high; places count the data sets of which anything is known
numbers() {
    awk -F, -v method="$2" -v field="${3:-ours}" '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["measure"] != "top1" { next }
        { name = $1 ($at["classes"] == "subset" ? " (subset)" : ""); if (!(name in place)) place[name] = n++ }
        $at["method"] == method && $at[field] ~ /[0-9]/ {
            print place[name], $at[field], field == "ours" ? $at["low"] " " $at["high"] : ""
        }' "$1"
}

# The plot of tables 1 and 2: points with intervals per data set; open squares: published.
render_points() {
    local base=$1 i=0 m plots=() sets
    shift
    sets=$(awk -F, 'NR > 1 && $5 == "top1" { name = $1; if ($4 == "subset") name = name "\\n(subset)"; else sub(/-/, "-\\n", name); if (!(name in seen)) { seen[name] = 1; printf "%s\"%s\" %d", n ? ", " : "", name, n; n++ } }' "$base.csv")
    for m in "$@"; do
        i=$((i + 1))
        numbers "$base.csv" "$m" >"$base.$i.ours"
        numbers "$base.csv" "$m" published >"$base.$i.published"
        [ ! -s "$base.$i.ours" ] ||
            plots+=("'$base.$i.ours' using (\$1 + $i * step - 0.5):2:3:4 with yerrorbars pt 7 ps 0.7 lw 1.5 lc $i notitle")
        [ ! -s "$base.$i.published" ] ||
            plots+=("'$base.$i.published' using (\$1 + $i * step - 0.5):2 with points pt 4 ps 1.1 lc $i notitle")
        plots+=("keyentry with points pt 7 ps 0.7 lc $i title \"$m\"")
    done
    picture "$base" $((200 + 95 * $(awk -F, 'NR > 1 && $5 == "top1" { s[$1 $4] = 1 } END { print length(s) }' "$base.csv"))) 480 <<END
set title "$(table_title "$(basename "$base")")"
set xtics ($sets) scale 0
set xrange [-0.5:*]
set offsets 0, 0.5, 0, 0
set yrange [0:*]
set ylabel "top-1, per cent (bars: 95 % interval)"
set grid ytics lc rgb '#dddddd'
set bmargin $((4 + ($# + 3) / 3))
set key bmargin left horizontal maxcols 3 Left reverse
step = 1.0 / ($# + 1)
plot $(IFS=, && echo "${plots[*]}"), keyentry with points pt 4 ps 1.1 lc rgb 'black' title "published"
END
    rm "$base".[0-9]*.{ours,published}
}

# The plots of the studies: a panel per data set of which there are data; lines against shots or rows.
render_lines() {
    local base=$1 label=$2 axis=$3 sets=() s m i
    shift 3
    mapfile -t sets < <(awk -F, 'NR > 1 && $3 != "" && ($8 ~ /[0-9]/ || $7 ~ /[0-9]/) && !($1 in seen) { seen[$1] = 1; print $1 }' "$base.csv")
    ((${#sets[@]})) || return 0
    local panels='' most=0 bars='standard deviation of the draws'
    [[ $axis != *logscale* ]] || bars='95 % interval'
    local apart='+ 0.06 *' # so that none hides another
    [[ $axis != *logscale* ]] || apart='* 1.05 **'
    for s in "${sets[@]}"; do
        local plots=()
        i=0
        for m in "$@"; do
            i=$((i + 1))
            local file=$base.$i.$s
            awk -F, -v s="$s" -v m="$m" -v draws="$(grep -q '^set logscale' <<<"$axis" || echo 1)" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
                $1 == s && $at["method"] == m && $at["measure"] == "top1" && $at["ours"] ~ /[0-9]/ {
                    sd = $at["sd"]
                    print $3, $at["ours"], draws ? $at["ours"] - sd : $at["low"], draws ? $at["ours"] + sd : $at["high"] }' "$base.csv" >"$file.ours"
            awk -F, -v s="$s" -v m="$m" '$1 == s && $2 == m && $5 == "top1" && $7 ~ /[0-9]/ { print $3, $7 }' "$base.csv" >"$file.published"
            if [ -s "$file.ours" ] && [[ $m == zero-shot* ]]; then
                plots+=("$(cut -d' ' -f2 "$file.ours") with lines dt 2 lc rgb '#555555' title \"$m\"")
            elif [ -s "$file.ours" ]; then
                plots+=("'$file.ours' using (\$1 $apart $i):2:3:4 with yerrorlines pt 7 ps 0.6 lc $i title \"$m\"")
            fi
            [ ! -s "$file.published" ] || plots+=("'$file.published' using 1:2 with linespoints pt 4 dt 3 lc $i title \"published: $m\"")
        done
        most=$((${#plots[@]} > most ? ${#plots[@]} : most))
        panels+="set title \"$s\"
plot $(IFS=, && echo "${plots[*]}")
"
    done
    local across=$((${#sets[@]} < 3 ? ${#sets[@]} : 3))
    # below each panel room for its numbers, its label and a line for each of its curves
    picture "$base" $((460 * across)) $((60 + (350 + 20 * most) * ((${#sets[@]} + across - 1) / across))) <<END
set multiplot layout $(((${#sets[@]} + across - 1) / across)),$across title "$(table_title "$(basename "$base")")\nbars: $bars"
set xlabel "$label"
set ylabel "top-1, per cent"
$axis
set grid ytics lc rgb '#dddddd'
set bmargin $((most + 4))
set key bmargin left vertical maxcols 1 Left reverse
set offsets graph 0.05, graph 0.05, graph 0.1, graph 0.1
$panels
END
    rm -f "$base".[0-9]*.{ours,published}
}

render() {
    local base=$RESULTS/$1
    render_text "$base" >"$base.md"
    if ! command -v gnuplot >/dev/null; then
        echo "$base: no pictures: gnuplot is missing (bash slurm/env/debian.sh --plots)" >&2
        return 0
    fi
    render_table "$base"
    case $1 in
    table1) render_points "$base" "zero-shot: own templates" "zero-shot: general templates" "zero-shot: CuPL" priming "priming + CuPL" \
        "priming; filter chosen on validation" ;;
    table2) render_points "$base" "zero-shot: own templates" "zero-shot: general templates" "priming; pool of the base set" "transductive priming" \
        "transductive priming; weighted" ;;
    fewshot) render_lines "$base" "shots per class" "set xrange [0:*]" "zero-shot: own templates" "shots and the pool" "shots alone" CoOp \
        "shots and the pool; filter chosen on validation" ;;
    poolsize) render_lines "$base" "rows of each class at most" "set logscale x" "zero-shot: own templates" "priming; random rows of each class" \
        "priming; random rows that pass the filter" "priming; most similar rows of each class" ;;
    esac
}
