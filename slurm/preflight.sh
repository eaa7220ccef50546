# preflight.sh - before stages are queued: do their programs start, and is what they read there, or made by a stage before them? Sourced by
# pipeline.sh. The first thing that is wrong ends it with a sentence and an exit code.
# shellcheck shell=bash

made=()   # what the stages looked at so far will have written: sets, folders, files
indexed=0 # 1: one of them builds FAISS indexes in the index set

# will_be PATH: is it, or is it in, what an earlier stage makes?
will_be() {
    local path
    for path in "${made[@]}"; do [[ $1 != "$path" && $1 != "$path"/* ]] || return 0; done
    return 1
}

# want_program PROGRAM: it starts, as it will in a job: modules loaded, the prefix before it
want_program() {
    local said
    said=$(npr_load; "${NPR_PREFIX[@]}" "$NPR_BIN/$1" --version 2>&1) ||
        npr_fail 78 "$stage: ${NPR_PREFIX[*]:+${NPR_PREFIX[*]} }$NPR_BIN/$1 does not start here (NPR_BIN, NPR_PREFIX and npr_modules in site.sh):" \
            "$(tail -n 1 <<<"$said")"
}

# want_input NAME: the file, folder, pattern or @LIST that this name of site.sh holds
want_input() {
    local value=${!1}
    [ -n "$value" ] || npr_fail 64 "$stage: $1 in site.sh is empty"
    [ ! -r "${value#@}" ] && ! compgen -G "$value" >/dev/null && ! will_be "$value" || return 0
    npr_fail 66 "$stage: $1 in site.sh is \"$value\": nothing is there, and no stage before makes it"
}

# want_set PATH: a set that is complete
want_set() {
    [ ! -e "$1/manifest.json" ] && ! will_be "$1" || return 0
    npr_fail 66 "$stage: the set $1 is not there, and no stage before makes it: $chain"
}

# want_tower: the CLIP of site.sh
want_tower() {
    want_program npr-extract
    want_input NPR_CLIP_WEIGHTS
    want_input NPR_CLIP_CONFIG
}

preflight_metadata() {
    local said
    want_input NPR_PARQUET
    [[ $NPR_PARQUET != @* && ! -d $NPR_PARQUET ]] ||
        npr_fail 64 "$stage: NPR_PARQUET in site.sh is \"$NPR_PARQUET\"; wanted a pattern of files, say \"$NPR_INPUT/metadata/*.parquet\""
    [ -n "$NPR_TSV" ] || npr_fail 64 "$stage: NPR_TSV in site.sh is empty"
    said=$(npr_load; "$NPR_PYTHON" -c 'import pyarrow.parquet' 2>&1) ||
        npr_fail 78 "$stage: $NPR_PYTHON (NPR_PYTHON in site.sh) has no pyarrow: $(tail -n 1 <<<"$said")"
    made+=("$NPR_TSV")
}

preflight_ingest() {
    want_program npr-ingest
    if [ -n "$NPR_EMB" ]; then
        want_input NPR_EMB
        want_input NPR_META
        made+=("$NPR_WORK/index")
    fi
    if [ -n "$NPR_HEAD_EMB" ]; then
        want_input NPR_HEAD_EMB
        want_input NPR_HEAD_META
        made+=("$NPR_WORK/head")
    fi
    if [ -n "$NPR_TEST_EMB" ]; then
        want_input NPR_TEST_EMB
        want_input NPR_TEST_LABELS
        made+=("$NPR_WORK/test")
    fi
}

preflight_extract() {
    want_tower
    [ -n "$NPR_IMAGES$NPR_CLIP_TEMPLATES$NPR_CLIP_PROMPTS$NPR_TEST_IMAGES" ] ||
        npr_fail 64 "$stage: NPR_IMAGES, NPR_CLIP_TEMPLATES, NPR_CLIP_PROMPTS and NPR_TEST_IMAGES in site.sh are all empty"
    if [ -n "$NPR_CLIP_TEMPLATES$NPR_CLIP_PROMPTS" ]; then
        want_input NPR_CLASSES
        want_input NPR_CLIP_VOCAB
        [ -z "$NPR_CLIP_TEMPLATES" ] || want_input NPR_CLIP_TEMPLATES
        [ -z "$NPR_CLIP_PROMPTS" ] || want_input NPR_CLIP_PROMPTS
        made+=("$NPR_TOWER/head")
    fi
    if [ -n "$NPR_TEST_IMAGES" ]; then
        want_input NPR_TEST_IMAGES
        made+=("$NPR_TOWER/test")
    fi
    if [ -n "$NPR_IMAGES" ]; then
        want_input NPR_IMAGES
        made+=("$NPR_WORK/index")
    fi
}

preflight_minilaion() {
    want_program npr-minilaion
    made+=("$NPR_INPUT")
}

preflight_index() {
    want_program npr-index
    want_set "$NPR_WORK/index"
    indexed=1
}

preflight_search() {
    local option mode=''
    want_program npr-search
    want_set "$NPR_WORK/index"
    for option in "${NPR_SEARCH_OPTIONS[@]}"; do [[ $option != --mode=* ]] || mode=${option#*=}; done
    [ "$mode" != faiss ] || ((indexed)) || grep -qsE '"index": *"[^"]' "$NPR_WORK/index/manifest.json" ||
        npr_fail 78 "$stage: --mode=faiss in NPR_SEARCH_OPTIONS, but $NPR_WORK/index has no FAISS index, and no stage \"index\" comes before: $chain"
    want_set "$NPR_WORK/head"
    want_input NPR_CLASSES
    made+=("$NPR_WORK/pool")
}

preflight_join() {
    want_tower
    want_set "$NPR_WORK/pool"
    [ "$NPR_TOWER" != "$NPR_WORK" ] || npr_fail 64 "$stage: NPR_TOWER in site.sh is NPR_WORK: the joined pool needs a folder of its own"
    want_input NPR_SHARDS
    [ -z "$NPR_FAILED" ] || want_input NPR_FAILED
    made+=("$NPR_TOWER/pool")
}

preflight_solve() {
    local set
    want_program npr-solve
    for set in head pool test; do want_set "$NPR_TOWER/$set"; done
    made+=("$NPR_TOWER/primed")
}

preflight_transduce() {
    local set
    want_program npr-search
    want_program npr-solve
    for set in head pool test; do want_set "$NPR_TOWER/$set"; done
    made+=("$NPR_TOWER/near" "$NPR_TOWER/primed-near")
}

preflight_verify() {
    want_program npr-verify
}

# npr_preflight STAGES...: in order. A stage of the site's own has no check.
npr_preflight() {
    local stage chain=$*
    for stage in "$@"; do ! declare -F "preflight_$stage" >/dev/null || "preflight_$stage"; done
}
