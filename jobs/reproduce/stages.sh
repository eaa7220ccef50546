# stages.sh - what is run for a data set: heads, features, pools, primed heads. Sets and records go to OUT. Sourced by
# reproduce.sh; needs config.sh and `launch SIZE NAME PROGRAM OPTIONS...`, which runs a stage (SIZE: big or small).
# shellcheck shell=bash

STEPS_RUN=0 STEPS_DONE=0

declare -A STEP_SEEN=()

# What a step was made from: its words, and of those that name sets, files, folders or patterns what tells them from others.
step_key() {
    local word path paths
    printf '%s\n' "$@"
    for word in "$@"; do
        [[ $word != --out=* && $word != --urls=* ]] || continue
        paths=("${word#*=}")
        [[ $word != --baseline=* ]] || IFS=, read -ra paths <<<"${paths[0]}"
        for path in "${paths[@]}"; do
            path_key "${path#@}"
        done
    done
}

# A set by its manifest, files by name, size and time: so is what a folder holds, or a pattern matches.
path_key() {
    local path=$1 files=()
    if is_set "$path"; then
        cksum "$path/manifest.json"
    elif [ -f "$path" ]; then
        stat -L -c '%n %s %Y' "$path"
    elif [[ $path == /* ]]; then
        mapfile -t files < <(compgen -G "$path")
        ((${#files[@]} == 0)) || echo "$path: $(find -L "${files[@]}" -type f -printf '%p %s %T@\n' | sort | cksum)"
    fi
}

# step SIZE NAME PROGRAM OPTIONS... --out=SET: run it, unless it has been run from the same inputs already. A pool or a head
# that was made from other inputs is made anew; features, which take hours, never: the program says what does not fit.
step() {
    local size=$1 name=$2 key set=$OUT/$2
    shift 2
    [ -z "${STEP_SEEN[$name]:-}" ] || return 0 # several tables ask for it
    STEP_SEEN[$name]=1
    key=$(step_key "$@" --out="$set")
    if [ -e "$OUT/records/$name.txt" ] && [ -e "$OUT/records/$name.key" ] && is_set "$set" && [ "$key" = "$(<"$OUT/records/$name.key")" ]; then
        STEPS_DONE=$((STEPS_DONE + 1))
        return 0
    fi
    # what a run from other inputs has made or begun goes; what one from the same has begun is gone on with
    if [[ $1 =~ ^npr-(search|solve)$ ]] && [ "$key" != "$(cat "$OUT/records/$name".{key,trying} 2>/dev/null)" ]; then
        rm -rf "$set"
    fi
    mkdir -p "${set%/*}" "$OUT/records/${name%"${name##*/}"}"
    rm -f "$OUT/records/$name.txt" "$OUT/records/$name.key"
    echo "$key" >"$OUT/records/$name.trying"
    launch "$size" "$name" "$@" --out="$set"
    mv "$OUT/records/$name.trying" "$OUT/records/$name.key"
    STEPS_RUN=$((STEPS_RUN + 1))
}

fact() { sed -n "s/^$2=//p" "$OUT/records/$1.txt" 2>/dev/null || true; }
model_of() { sed -n 's/^ "model": "\(.*\)",$/\1/p' "$1/manifest.json"; }

# ---- features and heads -----------------------------------------------------------------------------------------

# clip_words SECTION: the solving tower's options, in the array `clip`
clip_words() {
    local s=$1 key
    clip=(--model="$(get "$s" weights)" --config="$(get "$s" config)")
    for key in model_name precision; do
        ! has "$s" $key || clip+=("--${key/_/-}=$(get "$s" $key)")
    done
}

# head SECTION NAME SOURCE...: a text head
head_of() {
    local s=$1 name=$2 clip
    shift 2
    clip_words "$s"
    step small "$s/$name" npr-extract --classes="$(get "$s" classes)" "$@" --vocab="$(get "$s" vocab)" "${clip[@]}"
}

heads() {
    local s=$1 own
    own=--templates=$(get "$s" templates)
    head_of "$s" text "$own"
    ! has "$s" clip_templates || head_of "$s" general --templates="$(get "$s" clip_templates)"
    if has "$s" prompts; then
        head_of "$s" cupl --prompts="$(get "$s" prompts)"
        head_of "$s" both "$own" --prompts="$(get "$s" prompts)"
    fi
}

# images SECTION KEY: labelled images as features; a set is taken as it is
images() {
    local s=$1 key=$2 path clip words=()
    path=$(get "$s" "$key")
    ! is_set "$path" || return 0
    clip_words "$s"
    [ -d "$path" ] || path=@$path
    ! has "$s" root || words+=(--root="$(get "$s" root)")
    ! has "$s" max_bad || words+=(--max-bad="$(get "$s" max_bad)")
    step big "$s/$key" npr-extract --kind=test --images="$path" "${words[@]}" "${clip[@]}"
}

# set_of SECTION KEY: where the features of images lie: with the section that `images` was asked for, or its base; what holds for all
# is with each, since each has its own classes
set_of() {
    local path
    path=$(get "$1" "$2")
    if is_set "$path"; then
        echo "$path"
    else
        path=$(conf_where "$1" "$2")
        [[ $path != .* ]] || path=$1$path
        echo "$OUT/${path%.*}/$2"
    fi
}

# ---- pools --------------------------------------------------------------------------------------------------------

# index_of SECTION: the index that captions are searched in, in `index`; made of pictures if the file gives those
index_of() {
    local s=$1 at clip words=()
    index=$(get "$s" index)
    [ -z "$index" ] || return 0
    at=$(conf_where "$s" index_images)
    at=${at%.*}
    index=$OUT/${at:+$at/}index
    clip_words "$s"
    ! has "$s" id_field || words+=(--id-field="$(get "$s" id_field)")
    ! has "$s" pool_max_bad || words+=(--max-bad="$(get "$s" pool_max_bad)")
    step big "${at:+$at/}index" npr-extract --kind=index --images="$(get "$s" index_images)" "${words[@]}" "${clip[@]}"
}

# recall SECTION: the rows whose captions name a class, at most `per_class` of each, as features of the solving tower, in
# `recalled`. Where the index's tower is that one, its embeddings are used; else the pictures are encoded: found by `source`
# below pool_root, or in tars downloaded from the pool's list of URLs (pool_tars).
recall() {
    local s=$1 index clip words=() ours theirs
    index_of "$s"
    ! has "$s" pool_urls || words=(--urls="$(get "$s" pool_urls)")
    step big "$s/recalled" npr-search --mode=caption --pool=row --index="$index" --k="$(get "$s" per_class 1000)" \
        --names="$(get "$s" names "$(get "$s" classes)")" "${words[@]}"
    recalled=$OUT/$s/recalled
    ours=$(model_of "$OUT/$s/text") theirs=$(model_of "$index")
    [ "$ours" != "$theirs" ] || return 0
    if has "$s" pool_tars; then
        words=(--images="$(get "$s" pool_tars)" --join="$recalled")
        ! has "$s" id_field || words+=(--id-field="$(get "$s" id_field)")
        ! has "$s" pool_failed || words+=(--failed="$(get "$s" pool_failed)")
    elif has "$s" pool_root; then
        words=(--images="$recalled" --root="$(get "$s" pool_root)")
    else
        conf_bad 78 "$(conf_where "$s" index)" "the index is of model $theirs, [$s] is solved with $ours, so the pool's pictures must be" \
            "encoded: give pool_root, or $(if has "$s" pool_urls; then
                echo "download the URLs in $(get "$s" pool_urls) (img2dataset: README.md has the commands) and give pool_tars"
            else echo "pool_urls, where their URLs are to be written, and then pool_tars with what was downloaded"; fi)"
    fi
    ! has "$s" pool_max_bad || words+=(--max-bad="$(get "$s" pool_max_bad)")
    clip_words "$s"
    step big "$s/encoded" npr-extract --kind=index "${words[@]}" "${clip[@]}"
    recalled=$OUT/$s/encoded
}

# Which pool stands beside the paper's figure: that of the paper's filter, argmax, where it is one of `filters`, else of the first of
# them, or of the one that `filter` names
first_filter() {
    local list
    list=$(get "$1" filters argmax)
    [[ " $list " != *" argmax "* ]] || list=argmax
    if has "$1" pool; then echo given; else get "$1" filter "${list%% *}"; fi
}

filter_choices() { get "$1" filter_choices "$(get "$1" filters argmax)"; }
may_choose() { has "$1" val && ! has "$1" pool; }

# chosen_filter SECTION: of the choices the one whose head has the best top-1 on validation images, at any alpha of the grid; ties go
# to the one named first. Never by the test set. Nothing before all have been tried.
chosen_filter() {
    local f
    may_choose "$1" || return 0
    for f in $(filter_choices "$1"); do
        [ -e "$OUT/records/$1/choose-$f.txt" ] || return 0
    done
    for f in $(filter_choices "$1"); do
        sed -n "s/^result\.validation\.[0-9.]*=/$f /p" "$OUT/records/$1/choose-$f.txt"
    done | awk '$2 > best || best == "" { best = $2; name = $1 } END { if (name != "") print name }'
}

# main_filters SECTION: the one beside the paper's figure, and the chosen one where that is another
main_filters() { { first_filter "$1" && chosen_filter "$1"; } | awk '!seen[$0]++'; }

# filters SECTION: the pools that table 1 is made with, the one beside the paper's figure first
filters() {
    local more=()
    has "$1" pool || read -ra more < <(get "$1" filters argmax)
    { main_filters "$1" && printf '%s\n' "${more[@]}"; } | awk 'NF && !seen[$0]++'
}

# filter_words FILTER: options of npr-search, in the array `filter`. none; argmax; argmaxP: and softmax at least P; topN. conf_check has
# seen that it is one of these.
filter_words() {
    case $1 in
    none) filter=() ;;
    argmax) filter=(--clip-filter) ;;
    argmax[0-9.]*) filter=(--clip-filter --clip-threshold="${1#argmax}") ;;
    top[0-9]*) filter=(--keep-per-class="${1#top}") ;;
    esac
}

# pool SECTION NAME OPTIONS...: rows of `recalled`, each labelled with the class its caption names
pool() {
    local s=$1 name=$2 recalled
    shift 2
    recall "$s"
    step small "$s/pool-$name" npr-search --mode=caption --index="$recalled" --head="$OUT/$s/text" \
        --names="$(get "$s" names "$(get "$s" classes)")" "$@"
}

filtered_pool() {
    local s=$1 filter
    [ "$2" != given ] || return 0
    filter_words "$2"
    pool "$s" "$2" --k="$(get "$s" per_class 1000)" "${filter[@]}"
}
pool_path() { if [ "$2" = given ]; then get "$1" pool; else echo "$OUT/$1/pool-$2"; fi; }

# ---- priming ------------------------------------------------------------------------------------------------------

# alpha_words SECTION: how alpha is found, in the array `alpha`: never with the test set's labels
alpha_words() {
    local s=$1 rule
    rule=$(get "$s" alpha "$(if has "$s" val; then echo val; else echo loo; fi)")
    alpha=(--alpha="$rule")
    [ "$rule" != val ] || alpha+=(--validation="$(set_of "$s" val)")
    [ "$rule" != rule ] || ! has "$s" sigma || alpha+=(--sigma="$(get "$s" sigma)")
}

# solve SECTION NAME HEAD POOL TEST OPTIONS...
solve() {
    local s=$1 name=$2 head=$3 pool=$4 test=$5 words=()
    shift 5
    ! has "${name%%/*}" subset || words+=(--classes-subset="$(get "${name%%/*}" subset)")
    step small "$name" npr-solve --head="$OUT/$s/$head" --pool="$pool" --test="$test" "${words[@]}" "$@"
}

# other_heads SECTION: --baseline of the general and CuPL heads; order: general, cupl
other_heads() {
    local s=$1 list=()
    ! has "$s" clip_templates || list+=("$OUT/$s/general")
    ! has "$s" prompts || list+=("$OUT/$s/cupl")
    baseline=()
    ((${#list[@]} == 0)) || baseline=(--baseline="$(IFS=, && echo "${list[*]}")")
}

# choose_filter SECTION: each filter's head on the validation images; the test set is not given
choose_filter() {
    local s=$1 f
    may_choose "$s" || return 0
    for f in $(filter_choices "$s"); do
        filtered_pool "$s" "$f"
        step small "$s/choose-$f" npr-solve --head="$OUT/$s/text" --pool="$(pool_path "$s" "$f")" --alpha=val --validation="$(set_of "$s" val)"
    done
}

# prepare SECTION: heads and features, and which pool does best on validation images
prepare() {
    heads "$1"
    images "$1" test
    ! has "$1" val || images "$1" val
    choose_filter "$1"
}

# without_copies SECTION FILTER: the same pool without what is nearly a test image, for what these rows do to accuracy
without_copies() {
    local s=$1 f=$2 alpha
    alpha_words "$s"
    step big "$s/copies" npr-search --mode=exact --index="$(pool_path "$s" "$f")" --queries="$(set_of "$s" test)" --pool=row --k=100 \
        --min-score="$(get "$s" near_copy 0.98)"
    solve "$s" "$s/clean" text "$(pool_path "$s" "$f")" "$(set_of "$s" test)" "${alpha[@]}" --exclude="$OUT/$s/copies"
}

stages_table1() {
    local s=$1 f alpha baseline
    ! is_shifted "$s" || return 0
    prepare "$s"
    alpha_words "$s"
    other_heads "$s"
    for f in $(filters "$s"); do
        filtered_pool "$s" "$f"
        solve "$s" "$s/primed-$f" text "$(pool_path "$s" "$f")" "$(set_of "$s" test)" "${alpha[@]}" "${baseline[@]}"
        ! has "$s" clip_templates ||
            solve "$s" "$s/general-$f" general "$(pool_path "$s" "$f")" "$(set_of "$s" test)" "${alpha[@]}"
        ! has "$s" prompts ||
            solve "$s" "$s/both-$f" both "$(pool_path "$s" "$f")" "$(set_of "$s" test)" "${alpha[@]}"
    done
    f=$(first_filter "$s")
    solve "$s" "$s/authors-$f" text "$(pool_path "$s" "$f")" "$(set_of "$s" test)" --alpha="$(get "$s" authors_alpha 0.9)"
    without_copies "$s" "$f"
}

# near SECTION-OF-POOL NAME IMAGES FILTER: the pool's rows nearest to images of which no label is known, in NAME
near() {
    local s=$1 name=$2 filter
    filter_words "$4"
    step small "$name" npr-search --mode=exact --index="$(pool_path "$s" "$(if has "$s" pool; then echo given; else echo none; fi)")" \
        --queries="$3" --pool=row --k="$(get "$s" nearest 10)" --head="$OUT/$s/text" "${filter[@]}"
}

# Transductive priming, in three ways: NAME FILTER WEIGHT.
NEAREST=("transductive none rows" "transductive-count none count" "transductive-argmax argmax rows")

# nearest_to_val SET NAME FILTER WEIGHT: with alpha=val the alpha is the one that does best when validation images are used in the same way.
nearest_to_val() {
    local s=$1 name=$2 f=$3 weight=$4 alpha
    alpha_words "$s"
    [ "${alpha[0]}" = --alpha=val ] || return 0
    near "$s" "$s/near-$f-val" "$(set_of "$s" val)" "$f"
    step small "$s/$name-val" npr-solve --head="$OUT/$s/text" --pool="$OUT/$s/near-$f-val" --weight="$weight" "${alpha[@]}"
}

# nearest_to_test SHIFTED-SET NAME FILTER WEIGHT
nearest_to_test() {
    local x=$1 name=$2 f=$3 weight=$4 s=${conf[$1.base]} alpha baseline
    alpha_words "$s"
    other_heads "$s"
    near "$s" "$x/near-$f" "$(set_of "$x" test)" "$f"
    [ "${alpha[0]}" != --alpha=val ] || alpha=(--alpha="$(fact "$s/$name-val" result.alpha)")
    solve "$s" "$x/$name" text "$OUT/$x/near-$f" "$(set_of "$x" test)" --weight="$weight" "${alpha[@]}" "${baseline[@]}"
}

# What the shifted sets of a base share is made with the base: on a cluster they are jobs side by side.
base_for_table2() {
    local s=$1 f way
    prepare "$s"
    has "$s" pool || filtered_pool "$s" none
    for f in $(main_filters "$s"); do filtered_pool "$s" "$f"; done
    for way in "${NEAREST[@]}"; do
        # shellcheck disable=SC2086 # three words
        nearest_to_val "$s" $way
    done
}

is_base() {
    local x
    for x in "${conf_sections[@]}"; do
        [ "${conf[$x.base]:-}" != "$1" ] || return 0
    done
    return 1
}

stages_table2() {
    local x=$1 s=${conf[$1.base]:-} f way alpha
    if ! is_shifted "$x"; then
        ! is_base "$x" || base_for_table2 "$x"
        return 0
    fi
    base_for_table2 "$s"
    images "$x" test
    alpha_words "$s"
    for f in $(main_filters "$s"); do
        solve "$s" "$x/primed-$f" text "$(pool_path "$s" "$f")" "$(set_of "$x" test)" "${alpha[@]}"
    done
    for way in "${NEAREST[@]}"; do
        # shellcheck disable=SC2086
        nearest_to_test "$x" $way
    done
}

stages_fewshot() {
    local s=$1 f alpha
    if is_shifted "$s" || ! has "$s" shots; then return 0; fi
    prepare "$s"
    images "$s" shots
    alpha_words "$s"
    for f in $(main_filters "$s"); do
        filtered_pool "$s" "$f"
        solve "$s" "$s/few-$f" "$(if has "$s" prompts; then echo both; else echo text; fi)" "$(pool_path "$s" "$f")" \
            "$(set_of "$s" test)" "${alpha[@]}" --shots="$(set_of "$s" shots)" \
            --shots-per-class="$(get "$s" shots_per_class 0,1,2,3,5,10)" --seeds="$(get "$s" seeds 3)"
    done
}

stages_poolsize() {
    local s=$1 n f alpha
    if is_shifted "$s" || has "$s" pool; then return 0; fi
    prepare "$s"
    alpha_words "$s"
    for n in $(get "$s" sizes "1 2 5 10 25 50 100 250 500 1000"); do
        pool "$s" "sample$n" --k="$n"
        pool "$s" "argmax-of-$n" --k="$n" --clip-filter
        pool "$s" "top$n" --k="$(get "$s" per_class 1000)" --keep-per-class="$n"
        for f in sample"$n" argmax-of-"$n" top"$n"; do
            solve "$s" "$s/size-$f" text "$OUT/$s/pool-$f" "$(set_of "$s" test)" "${alpha[@]}"
        done
    done
}
