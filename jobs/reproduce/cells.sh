# cells.sh - records to cells: one line with tabs per data set, method, number of shots or rows, classes and measure; then,
# beside the paper's figures (paper.csv), a table with commas. Sourced by reproduce.sh.
# shellcheck shell=bash

# paper_name SECTION: what paper.csv calls the data set
paper_name() { echo "${conf[$1.paper]:-$1}"; }

# How the pool was filtered, in words.
filter_text() {
    case $1 in
    none) echo "no filter" ;;
    given) echo "pool as given" ;;
    argmax) echo "argmax filter" ;;
    argmax*) echo "argmax filter and probability ${1#argmax}" ;;
    top*) echo "top ${1#top} of each class" ;;
    esac
}

# Which filter stands beside the paper's figure, and why that one.
main_filter_text() {
    local f
    f=$(first_filter "$1")
    echo "$(filter_text "$f")$(if [ "$f" = argmax ]; then echo "; the paper's"; elif [ "$f" != given ]; then echo "; not the paper's"; fi)"
}

CHOSEN=", filter chosen on validation"
chosen_text() { echo "$(filter_text "$(chosen_filter "$1")"); chosen on validation"; }

# cell SECTION METHOD X HOW RECORD KEY [GAIN [OTHER]]: the cells of one number of npr-solve: top-1 and mean over classes, among
# all classes and, where the record has it, among the subset's. GAIN: key of the gain over zero-shot with the same head;
# OTHER: key of the general head's difference to this one.
cell() {
    local s=$1 record=$OUT/records/$5.txt
    [ -e "$record" ] || record=/dev/null
    awk -F= -v OFS='\t' -v d="$(paper_name "$s")" -v method="$2" -v x="$3" -v how="$4" -v key="$6" -v gain="${7:-}" -v other="${8:-}" \
        -v subset="$(has "$s" subset && echo 1)" -v name="records/$5.txt" '
        { v[$1] = $2 }
        function of(k) { return ("result." k) in v ? sprintf("%.2f", 100 * v["result." k]) : "" }
        function minus(k) { return ("result." k) in v ? sprintf("%.2f", -100 * v["result." k]) : "" }
        function line(ways, within, measure, field, low, high,   g, o) {
            g = field == "top1" && gain != "" ? within gain "." : ""
            o = field == "top1" && other != "" ? within other "." : ""
            rule = v["result.alpha_from"]
            print d, method, x, ways, measure, how, of(within key "." field), of(within key "." low), of(within key "." high),
                g ? of(g "top1") : "", g ? of(g "low") : "", g ? of(g "high") : "",
                o ? minus(o "top1") : "", o ? minus(o "high") : "", o ? minus(o "low") : "", "", "",
                gain == "" ? "" : v["result.alpha"], gain == "" ? "" : rule, gain == "" ? "" : v["result.pool_rows"],
                v[(within ? "result.subset." : "result.") "test_rows"], name
        }
        END {
            line("all", "", "top1", "top1", "low", "high")
            line("all", "", "class mean", "mean", "mean_low", "mean_high")
            if (!subset) exit
            line("subset", "subset.", "top1", "top1", "low", "high")
            line("subset", "subset.", "class mean", "mean", "mean_low", "mean_high")
        }' "$record"
}

# templates_text SECTION KEY: "80 templates"
templates_text() {
    local n
    n=$(grep -c . "$(get "$1" "$2")")
    echo "$n template$([ "$n" = 1 ] || echo s)"
}

zero_shot_cells() { # SECTION RECORD: own templates, and general ones beside them
    cell "$1" "zero-shot: own templates" "" "$(templates_text "$1" templates)" "$2" zero_shot
    ! has "$1" clip_templates ||
        cell "$1" "zero-shot: general templates" "" "$(templates_text "$1" clip_templates)" "$2" baseline.1
}

general_gain() { if has "$1" clip_templates; then echo gain.baseline.1; fi; }

# primed_cells SECTION FILTER SUFFIX HOW: a pool's cells with each head
primed_cells() {
    local s=$1 f=$2
    cell "$s" "priming$3" "" "$4" "$s/primed-$f" primed gain "$(general_gain "$s")"
    ! has "$s" clip_templates || cell "$s" "priming, general templates$3" "" "$4" "$s/general-$f" primed gain
    ! has "$s" prompts || cell "$s" "priming + CuPL$3" "" "$4" "$s/both-$f" primed gain
}

cells_table1() {
    local s=$1 f first
    ! is_shifted "$s" || return 0
    first=$(first_filter "$s")
    zero_shot_cells "$s" "$s/primed-$first"
    if has "$s" prompts; then
        cell "$s" "zero-shot: CuPL" "" "" "$s/primed-$first" "baseline.$(if has "$s" clip_templates; then echo 2; else echo 1; fi)"
        cell "$s" "zero-shot: own templates + CuPL" "" "" "$s/both-$first" zero_shot
    fi
    primed_cells "$s" "$first" "" "$(main_filter_text "$s")"
    cell "$s" "priming, the authors' alpha" "" "$(main_filter_text "$s")" "$s/authors-$first" primed gain
    f=$(chosen_filter "$s")
    [ -z "$f" ] || primed_cells "$s" "$f" "$CHOSEN" "$(chosen_text "$s")"
    for f in $(has "$s" pool || get "$s" filters argmax); do
        # the one that was chosen stands among the others too: other data sets have chosen others
        [ "$f" = "$first" ] || primed_cells "$s" "$f" ", $(filter_text "$f")" "$(filter_text "$f")"
    done
    cell "$s" "priming, without near-duplicates" "" "$(copies_text "$s")" "$s/clean" primed gain
}

# What was left out, and what it does: accuracy with these rows, at the same alpha.
copies_text() {
    local rows with
    rows=$(fact "$1/clean" result.excluded_rows) with=$(fact "$1/clean" result.with_excluded.top1)
    [ -n "$rows" ] || return 0
    awk -v rows="$rows" -v with="$with" -v least="$(get "$1" near_copy 0.98)" \
        'BEGIN { printf "%d pool rows with a cosine of %s or more to a test image left out; with them at this alpha %.2f\n", rows, least, 100 * with }'
}

# shifted_cell SHIFTED-SET METHOD HOW RECORD: alpha was found on the base's validation images in the same way
shifted_cell() {
    local x=$1 s=${conf[$1.base]} note=$OUT/records/${conf[$1.base]}/${4#*/}-val.txt
    cell "$x" "$2" "" "$3" "$4" primed gain "$(general_gain "$x")" |
        awk -F'\t' -v OFS='\t' -v tuned="$([ -e "$note" ] && has "$s" val && echo 1)" '
            tuned && $19 == "given" { $19 = "validation, in the same way" } { print }'
}

cells_table2() {
    local x=$1 f
    is_shifted "$x" || return 0
    f=$(first_filter "${conf[$x.base]}")
    zero_shot_cells "$x" "$x/transductive"
    shifted_cell "$x" "priming, pool of the base set" "$(main_filter_text "${conf[$x.base]}")" "$x/primed-$f"
    f=$(chosen_filter "${conf[$x.base]}")
    [ -z "$f" ] || shifted_cell "$x" "priming, pool of the base set$CHOSEN" "$(chosen_text "${conf[$x.base]}")" "$x/primed-$f"
    shifted_cell "$x" "transductive priming" "nearest rows once each; no filter" "$x/transductive"
    shifted_cell "$x" "transductive priming, weighted" "as often as recalled, which is ours; no filter" "$x/transductive-count"
    shifted_cell "$x" "transductive priming, argmax filter" "nearest rows once each; argmax filter" "$x/transductive-argmax"
}

# few_cells SECTION RECORD SUFFIX HOW: mean over draws, with the interval of that mean (Student) and the draws' deviation; without shots
# there is one draw, and the interval is the test set's (Wilson)
few_cells() {
    awk -F= -v OFS='\t' -v d="$(paper_name "$1")" -v name="records/$2.txt" -v suffix="$3" -v how="$4$(has "$1" prompts &&
        echo '; head with CuPL')" -v numbers="$(get "$1" shots_per_class 0,1,2,3,5,10)" '
        { v[$1] = $2 }
        function student(f,   z) { # 97.5 % quantile
            if (f < 10) return t[f]
            z = 1.959964
            return z + (z ^ 3 + z) / (4 * f) + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / (96 * f * f)
        }
        function line(n, with, method, measure, field,   k, p, m, h, low, high, sd, draws, z) {
            k = "result.fewshot." n "." with "."
            if (!((k field) in v)) {
                if (n || with == "pool") print d, method, n, "all", measure, how, "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", name
                return
            }
            p = v[k field]; draws = n ? v["result.fewshot.draws"] : 1; sd = draws > 1 ? v[k field "_sd"] : ""
            low = high = ""
            if (draws > 1) {
                h = student(draws - 1) * sd / sqrt(draws); low = p - h; high = p + h
            } else if (field == "top1") {
                z = 1.959964; m = v["result.test_rows"]
                h = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m))
                low = (p + z * z / (2 * m)) / (1 + z * z / m) - h; high = low + 2 * h
            }
            print d, method, n, "all", measure, how, sprintf("%.2f", 100 * p), low == "" ? "" : sprintf("%.2f", 100 * low),
                high == "" ? "" : sprintf("%.2f", 100 * high), "", "", "", "", "", "", sd == "" ? "" : sprintf("%.2f", 100 * sd), draws,
                v[k "alpha"], v["result.alpha_from"], with == "pool" ? v["result.pool_rows"] : "", v["result.test_rows"], name
        }
        BEGIN { split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t, " ") }
        END {
            count = split(numbers, number, ",")
            for (i = 1; i <= count; i++) {
                line(number[i], "pool", "shots and the pool" suffix, "top1", "top1")
                line(number[i], "pool", "shots and the pool" suffix, "class mean", "mean")
                if (suffix != "") continue # the same without a pool
                line(number[i], "alone", "shots alone", "top1", "top1")
                line(number[i], "alone", "shots alone", "class mean", "mean")
            }
        }' "$([ -e "$OUT/records/$2.txt" ] && echo "$OUT/records/$2.txt" || echo /dev/null)"
}

cells_fewshot() {
    local s=$1 f
    if is_shifted "$s" || ! has "$s" shots; then return 0; fi
    f=$(first_filter "$s")
    cell "$s" "zero-shot: own templates" 0 "$(templates_text "$s" templates)" \
        "$(if [ -e "$OUT/records/$s/primed-$f.txt" ]; then echo "$s/primed-$f"; else echo "$s/few-$f"; fi)" zero_shot
    few_cells "$s" "$s/few-$f" "" "$(main_filter_text "$s")"
    f=$(chosen_filter "$s")
    [ -z "$f" ] || few_cells "$s" "$s/few-$f" "$CHOSEN" "$(chosen_text "$s")"
}

cells_poolsize() {
    local s=$1 n
    if is_shifted "$s" || has "$s" pool; then return 0; fi
    cell "$s" "zero-shot: own templates" 0 "$(templates_text "$s" templates)" "$s/size-top$(get "$s" sizes "1" | sed 's/ .*//')" zero_shot
    for n in $(get "$s" sizes "1 2 5 10 25 50 100 250 500 1000"); do
        cell "$s" "priming, random rows of each class" "$n" "no filter" "$s/size-sample$n" primed gain
        cell "$s" "priming, random rows that pass the filter" "$n" "argmax filter" "$s/size-argmax-of-$n" primed gain
        cell "$s" "priming, most similar rows of each class" "$n" "top $n of each class" "$s/size-top$n" primed gain
    done
}

CSV_HEADER=dataset,method,x,classes,measure,how,published,ours,low,high,difference,gain,gain_low,gain_high,over_general,over_general_low,over_general_high,sd,draws,alpha,alpha_rule,pool_rows,test_rows,record,published_source,note

# beside_paper TABLE NOTE: cells on standard input to lines of the csv, each with the figure that was published; published figures
# that no cell stands beside follow, as cells without data; then the mean of six sets.
beside_paper() {
    awk -v table="$1" -v note="$2" -v header="$CSV_HEADER" '
        function number(v) { return v ~ /^-?[0-9.]+$/ }
        function put(d, m, x, ways, measure, how, ours, low, high, rest, name,   k, p, source) {
            k = d SUBSEP m SUBSEP x SUBSEP ways SUBSEP measure
            p = k in published ? published[k] : (d in known ? "not known" : "not in the paper")
            source = k in published ? from[k] : ""
            used[k] = 1
            if (!number(ours)) { ours = low = high = "no data"; gsub(/[^,]/, "", rest) }
            if (low == "") low = high = "no data"
            printf "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n", d, m, x, ways, measure, how, p, ours, low, high,
                !number(ours) ? "no data" : number(p) ? sprintf("%.2f", ours - p) : p, rest, number(ours) ? name : "", source, note
            if (number(ours)) value[k] = ours
            if (number(ours) && number(low)) half[k] = (high - low) / 2
        }
        function leave(d,   i, part) { # published, but without a cell of ours
            for (i = 1; i <= keys; i++) {
                split(order[i], part, SUBSEP)
                if (part[1] == d && !(order[i] in used)) put(d, part[2], part[3], part[4], part[5], "", "", "", "", ",,,,,,,,,,,", "")
            }
        }
        function means(   i, j, part, k, sum, square, six) {
            split("Cars Aircraft Flowers Food Pets SUN", six, " ")
            for (i = 1; i <= keys; i++) {
                split(order[i], part, SUBSEP)
                if (part[1] != "mean of 6") continue
                sum = square = 0
                for (j = 1; j <= 6; j++) {
                    k = six[j] SUBSEP part[2] SUBSEP part[3] SUBSEP part[4] SUBSEP part[5]
                    if (!(k in value)) break
                    sum += value[k]; square += half[k] ^ 2
                }
                if (j <= 6) put("mean of 6", part[2], part[3], part[4], part[5], "", "", "", "", ",,,,,,,,,,,", "")
                else put("mean of 6", part[2], part[3], part[4], part[5], "", sprintf("%.2f", sum / 6), sprintf("%.2f", (sum - sqrt(square)) / 6),
                    sprintf("%.2f", (sum + sqrt(square)) / 6), ",,,,,,,,,,,", "the six lines above")
            }
        }
        FNR == NR {
            if ($1 != table) next
            k = $2 SUBSEP $3 SUBSEP $4 SUBSEP $5 SUBSEP $6
            order[++keys] = k; published[k] = $7; from[k] = $10
            if (!($2 in known)) sets[++n] = $2
            known[$2] = 1
            next
        }
        FNR == 1 { print header }
        {
            if ($1 != now && now != "") leave(now)
            now = $1; seen[now] = 1
            gsub(/,/, ";")
            rest = $10
            for (i = 11; i <= 21; i++) rest = rest "," $i
            put($1, $2, $3, $4, $5, $6, $7, $8, $9, rest, $22)
        }
        END {
            if (now == "") print header
            else leave(now)
            for (i = 1; i <= n; i++) if (!(sets[i] in seen) && sets[i] != "mean of 6") leave(sets[i])
            means()
        }' FS=, "$REPRODUCE/paper.csv" FS='\t' -
}
