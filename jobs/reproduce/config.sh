# config.sh - reads and checks a datasets.conf: lines "key = value" in sections "[data set]"; what stands before the first
# section holds for all. datasets.conf.in says what every key means. Sourced by reproduce.sh.
# shellcheck shell=bash

declare -A conf=() conf_line=() # by "SECTION.KEY", of what stands before all sections ".KEY"
conf_sections=()
conf_file=

CONF_PATHS=" weights config vocab classes names templates clip_templates prompts subset test val shots root folder index pool pool_root "
CONF_PATTERNS=" index_images pool_tars pool_failed "
CONF_WRITTEN=" pool_urls "
CONF_WORDS=" title paper base split note model_name precision id_field per_class filters filter filter_choices near_copy alpha authors_alpha sigma nearest shots_per_class seeds sizes max_bad pool_max_bad "
CONF_OWN=" test root folder split subset paper title base " # what a shifted set does not take over from its base

# conf_bad CODE SECTION.KEY WORDS...: say what is wrong, and in which line
conf_bad() {
    local code=$1 line=${conf_line[$2]:-}
    shift 2
    npr_die "$code" "$conf_file:${line:+ line $line:} $*"
}

# Variables of the environment in a value: ${NAME}.
conf_expand() {
    local text=$1 line=$2 name
    while [[ $text =~ \$\{([A-Za-z_][A-Za-z0-9_]*)\} ]]; do
        name=${BASH_REMATCH[1]}
        [ -n "${!name:-}" ] || npr_die 64 "$conf_file: line $line: the variable $name of the environment is not set"
        text=${text//"\${$name}"/"${!name}"} # quoted: & stands for itself
    done
    echo "$text"
}

# conf_take LINE SECTION KEY VALUE: paths become whole paths: others start where the file lies
conf_take() {
    local n=$1 at=$2.$3 key=$3 value=$4
    local known="$CONF_PATHS$CONF_PATTERNS$CONF_WRITTEN$CONF_WORDS"
    [[ $known == *" $key "* ]] || npr_die 64 "$conf_file: line $n: unknown key \"$key\"; known:$known"
    [ -z "${conf_line[$at]:-}" ] || npr_die 64 "$conf_file: line $n: \"$key\" stands in line ${conf_line[$at]} already"
    value=$(conf_expand "$value" "$n")
    if [[ "$CONF_PATHS$CONF_PATTERNS$CONF_WRITTEN" == *" $key "* && $value != /* ]]; then
        value=$(cd "$(dirname "$conf_file")" && pwd)/$value
    fi
    conf[$at]=$value
    conf_line[$at]=$n
}

# conf_read FILE
conf_read() {
    local line n=0 section=
    conf_file=$1
    [[ -f $conf_file && -r $conf_file ]] || npr_die 66 "$conf_file: no such file; jobs/reproduce/datasets.conf.in is one to copy and edit"
    while IFS= read -r line || [ -n "$line" ]; do
        n=$((n + 1))
        line=${line%$'\r'}
        [[ ! $line =~ ^(.*[^[:space:]])[[:space:]]+#.*$ ]] || line=${BASH_REMATCH[1]} # a remark behind the value
        [[ ! $line =~ ^[[:space:]]*(#|$) ]] || continue
        if [[ $line =~ ^\[([A-Za-z0-9_-]+)\][[:space:]]*$ ]]; then
            section=${BASH_REMATCH[1]}
            [ -z "${conf_line[$section.]:-}" ] || npr_die 64 "$conf_file: line $n: [$section] begins in line ${conf_line[$section.]} already"
            conf_line[$section.]=$n
            conf_sections+=("$section")
        elif [[ $line =~ ^[[:space:]]*([a-z_]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*$ ]]; then
            conf_take "$n" "$section" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        else
            npr_die 64 "$conf_file: line $n: wanted [data set] or key = value, found \"$line\""
        fi
    done <"$conf_file"
    ((${#conf_sections[@]})) || npr_die 64 "$conf_file: names no data set: no line is [NAME]"
}

# conf_where SECTION KEY: the SECTION.KEY whose value holds: the section's own, its base's, or the one for all; or nothing
conf_where() {
    local s=$1 key=$2 base
    base=${conf[$s.base]:-}
    if [ -n "${conf[$s.$key]:-}" ]; then
        echo "$s.$key"
    elif [ -n "$base" ] && [[ "$CONF_OWN" != *" $key "* ]]; then
        conf_where "$base" "$key"
    elif [ -n "${conf[.$key]:-}" ]; then
        echo ".$key"
    fi
}

# get SECTION KEY [DEFAULT]
get() {
    local at
    at=$(conf_where "$1" "$2")
    if [ -n "$at" ]; then echo "${conf[$at]}"; else echo "${3:-}"; fi
}
has() { [ -n "$(conf_where "$1" "$2")" ]; }
is_shifted() { [ -n "${conf[$1.base]:-}" ]; }
is_set() { [ -e "$1/manifest.json" ]; }

# What jobs/datasets.py left in `folder`: its list of images, classes and subset, where the file does not say otherwise.
conf_folder() {
    local s=$1 folder key file at=$1.folder
    folder=${conf[$at]:-}
    [ -n "$folder" ] || return 0
    [ -d "$folder" ] || conf_bad 66 "$at" "folder: no such folder: $folder"
    for key in test classes subset; do
        file=$folder/$key.txt
        [ "$key" != test ] || file=$folder/$(get "$s" split test).tsv
        [ -z "${conf[$s.$key]:-}" ] || continue
        if [ -e "$file" ]; then
            # a shifted set's labels are its base's, and so are the names
            [ "$key" = classes ] && is_shifted "$s" && continue
            conf[$s.$key]=$file
            conf_line[$s.$key]=${conf_line[$at]}
        elif [ "$key" = test ]; then
            conf_bad 66 "$at" "folder: $folder has no $(basename "$file"); jobs/datasets.py makes it"
        fi
    done
}

# conf_need SECTION KEY...: at least one of them
conf_need() {
    local s=$1 key
    shift
    for key in "$@"; do
        ! has "$s" "$key" || return 0
    done
    conf_bad 64 "$s." "[$s] has no \"${*// /\" or \"}\""
}

conf_check_paths() {
    local at key path first
    for at in "${!conf[@]}"; do
        key=${at#*.} path=${conf[$at]}
        if [[ "$CONF_PATHS" == *" $key "* ]]; then
            [ -e "$path" ] || echo "${conf_line[$at]} $key: no such file or folder: $path"
            [[ ! " index pool " == *" $key "* ]] || [ ! -e "$path" ] || is_set "$path" ||
                echo "${conf_line[$at]} $key: no set is $path: it has no manifest.json"
        elif [[ "$CONF_PATTERNS" == *" $key "* ]]; then
            first=$(compgen -G "${path#@}" | head -n 1) || true
            [ -n "$first" ] || echo "${conf_line[$at]} $key: no file matches $path"
        fi
    done | sort -n
}

# conf_check_filters SECTION, or '' for what holds for all: filter_words (stages.sh) knows every name
conf_check_filters() {
    local key name known
    for key in filters filter_choices filter; do
        for name in ${conf[$1.$key]:-}; do
            known='^(none|argmax|argmax[0-9]*\.?[0-9]+|top[1-9][0-9]*)$'
            [[ $name =~ $known ]] ||
                conf_bad 64 "$1.$key" "$key: wanted none, argmax, argmaxP or topN, found \"$name\""
        done
    done
}

# conf_check: what the stages would otherwise stumble over hours later
conf_check() {
    local s base wrong
    for s in "${conf_sections[@]}"; do
        base=${conf[$s.base]:-}
        if [ -n "$base" ] && { [ -z "${conf_line[$base.]:-}" ] || is_shifted "$base"; }; then
            conf_bad 64 "$s.base" "base: wanted a data set of this file that has no base itself, found \"$base\""
        fi
        conf_folder "$s"
    done
    wrong=$(conf_check_paths)
    if [ -n "$wrong" ]; then
        sed "s|^\([0-9]*\) |${conf_file//|/\\|}: line \1: |" <<<"$wrong" >&2
        npr_die 66 "$(wc -l <<<"$wrong") of the paths in $conf_file are not there (above)"
    fi
    conf_check_filters ''
    for s in "${conf_sections[@]}"; do
        conf_check_filters "$s"
        conf_need "$s" test
        conf_need "$s" classes
        conf_need "$s" templates
        conf_need "$s" index index_images pool
        for key in weights config vocab; do conf_need "$s" "$key"; done
        [ "$(get "$s" alpha)" != val ] || conf_need "$s" val
    done
}
