#!/bin/bash
# emulated_cpu.sh - the code for a CPU that this machine may not have: tests of the kernels on a PC with AVX-512 that Bochs emulates.
#
#   bash tests/emulated_cpu.sh [--cpu=MODEL] [--bochs=PROGRAM] [--display=NAME] [--amx] [--minutes=N] [TEST...]
#
# Which kernel runs is asked of the CPU, so on one without AVX-512 the tests only see the others. Debian's Bochs knows AVX-512 (corei7_skylake_x;
# `bochs --help cpu` lists more), boots Debian's cloud kernel in a minute or two, and runs the programs of build/test, hundreds of times slower
# than the machine, so that all of it takes an hour or more: tests take a seventh of their cases (NPR_TEST_SHARE). Each must pass, and must have met the kernels it is there for. It ends with
# a line per test. Nothing is installed into the running system but packages; all that is made lies in build/emulated_cpu.
#
#   --cpu=MODEL        what Bochs's configuration has as cpu: model= (corei7_skylake_x); more may follow: MODEL, add_features="..."
#   --bochs=PROGRAM    another Bochs, with its own display (--display=nogui). Later ones know AVX512-BF16, but at least one of them, from before 3.1,
#                      reads half of the numbers of VCVTNE2PS2BF16 from a wrong place: search_exact's block-bf16 then fails
#   --amx              the emulated CPU has AMX, and what Linux wants before it uses tiles: XSAVES with the right sizes, XFD, and leaves 0x1d and 0x1e of
#                      CPUID. Bochs of August 2026 lacks XFD, and saves tiles wrongly; tests must then meet AMX's kernels
#   --minutes=N        180; who is not done by then has failed
#   TEST...            of base_cpu base_matmul base_score prime_mean prime_gradient clip_dnn clip_forward search_phrases search_exact: all
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=slurm/env/local.sh
source "$ROOT/slurm/env/local.sh"

cpu=corei7_skylake_x
bochs="bochs-bin"
display=term
minutes=180
amx=0
names=()
for arg in "$@"; do
    case $arg in
    --cpu=*) cpu=${arg#*=} ;;
    --bochs=*) bochs=${arg#*=} ;;
    --display=*) display=${arg#*=} ;;
    --amx) amx=1 ;;
    --minutes=*) minutes=${arg#*=} ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    -*) npr_die 64 "unknown option $arg (known: --cpu, --bochs, --display, --amx, --minutes, --help)" ;;
    *) names+=("$arg") ;;
    esac
done

# What a test must say it met, on a CPU with AVX-512, on one with AVX512-BF16 too, and on one with AMX.
declare -A wanted=([base_cpu]="kernel without amx" [base_matmul]="kernel avx512" [base_score]="kernel avx512" [prime_mean]="kernel avx512" [prime_gradient]="" [search_phrases]="kernel avx512"
    [clip_dnn]="kernel bfloat16: of AVX-512" [clip_forward]="kernel bfloat16: refused" [search_exact]="screen few-avx512,screen block-f32")
declare -A wanted_bf16=([clip_forward]="kernel bfloat16: of the CPU" [clip_dnn]="kernel bfloat16: of the CPU" [search_exact]="screen few-avx512,screen block-f32,screen block-bf16")
declare -A wanted_amx=([base_cpu]="kernel amx" [search_exact]="screen few-avx512,screen block-f32,screen block-bf16,screen block-amx")
((${#names[@]})) || names=(base_cpu base_matmul prime_gradient prime_mean clip_dnn clip_forward base_score search_exact search_phrases)
for name in "${names[@]}"; do
    [[ -v wanted[$name] ]] || npr_die 64 "there is no test $name for an emulated CPU (known: ${!wanted[*]})"
done

npr_prepare --emulator
npr_build "$ROOT/build/test" -DCMAKE_BUILD_TYPE=Release
command -v "$bochs" >/dev/null || npr_die 66 "there is no program $bochs"
echo "emulated_cpu.sh: ${#names[@]} tests on $cpu; booting takes a minute or two" >&2
work=$ROOT/build/emulated_cpu
rm -rf "$work/files" "$work/disc"
mkdir -p "$work/files"/{bin,proc,dev,tmp,tests} "$work/disc/isolinux"

# ---- a kernel: its package is unpacked, not installed
if ! compgen -G "$work/kernel/boot/vmlinuz-*" >/dev/null; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1 || true)
    mkdir -p "$work/kernel"
    (cd "$work/kernel" && apt-get download -qq "${package:?linux-image-cloud-amd64 is not known to apt}" && dpkg -x linux-image-*.deb .) >"$work/kernel.log" 2>&1 ||
        npr_die 78 "cannot download the kernel, $package (apt-get update may help); the reason is in $work/kernel.log"
fi

# ---- its only files: a shell, the tests and their libraries
cp /bin/busybox "$work/files/bin/"
mkdir -p "$work/files/source/tests/data"
cp "$ROOT"/tests/data/tiny_clip* "$work/files/source/tests/data/"
for name in "${names[@]}"; do
    program=$ROOT/build/test/tests/test_$name
    cp "$program" "$work/files/tests/"
    ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }'
done | sort -u | while read -r library; do
    mkdir -p "$work/files${library%/*}"
    cp -L "$library" "$work/files$library"
done
cat >"$work/files/init" <<END
#!/bin/busybox sh
b=/bin/busybox
\$b mount -t proc proc /proc
\$b mount -t devtmpfs dev /dev
\$b mount -t tmpfs tmp /tmp
\$b sed -n 's/^flags[^:]*:/npr-flags/p' /proc/cpuinfo
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=1 OMP_WAIT_POLICY=passive NPR_TEST_SHARE=7 NPR_SOURCE=/source
for name in ${names[*]}; do
    \$b echo "npr-begin \$name"
    /tests/test_\$name 2>&1
    \$b echo "npr-end \$name \$?"
done
\$b echo npr-done
\$b sleep 10 # the line is slow
\$b poweroff -f
END
chmod +x "$work/files/init"
(cd "$work/files" && find . | busybox cpio -o -H newc) >"$work/disc/isolinux/initrd" 2>"$work/cpio.log"

# ---- a disc to boot from. Bochs 2.7 gives a wrong size for the compacted format of XSAVE, and Linux then goes without AVX: hence without that,
# but for AMX, for which Linux wants it.
compacted="clearcpuid=xsaves,xsavec"
((!amx)) || compacted=""
cp "$work"/kernel/boot/vmlinuz-* "$work/disc/isolinux/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disc/isolinux/"
cat >"$work/disc/isolinux/isolinux.cfg" <<END
DEFAULT npr
LABEL npr
 KERNEL vmlinuz
 APPEND initrd=initrd console=ttyS0,115200 quiet panic=-1 nokaslr mitigations=off nosmp no5lvl no_timer_check tsc=reliable $compacted
END
genisoimage -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disc" \
    2>"$work/genisoimage.log" || npr_die 70 "genisoimage failed; its words are in $work/genisoimage.log"
serial=$work/serial.txt
cat >"$work/bochsrc" <<END
display_library: $display
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=$cpu, ips=100000000
memory: guest=1024, host=1024
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$serial
speaker: enabled=0
clock: sync=none
log: $work/bochs.log
panic: action=fatal
END

# ---- run it. Debian's Bochs has a debugger that waits to be told to go on, and draws on a terminal: the one that script(1) makes, or with the
# debugger one of its own, whose name it says. Both must be read, or Bochs waits for that.
go=""
if [[ $("$bochs" --help 2>&1 || true) == *" -rc "* ]]; then
    echo continue >"$work/continue"
    go="-rc $work/continue"
fi
rm -f "$serial" "$work/screen.txt"
touch "$serial" "$work/screen.txt"
rm -f "$work/keys"
mkfifo "$work/keys"
exec 8<>"$work/keys" # nothing is typed, and it does not end: then script would stop reading what Bochs draws
TERM=linux timeout -k 5 $((minutes * 60)) script -qec "$bochs -q -f $work/bochsrc $go" /dev/null <&8 >"$work/screen.txt" 2>&1 &
running=$!
reader=""
trap 'kill "$running" $reader 2>/dev/null || true' EXIT
told=0
while kill -0 "$running" 2>/dev/null && ! grep -q '^npr-done' "$serial"; do
    own=$(sed -n 's/.*connected to screen "\([^"]*\)".*/\1/p' "$work/screen.txt")
    if [[ -z $reader && -n $own ]]; then
        stty -F "$own" raw -echo
        cat "$own" >/dev/null 2>&1 &
        reader=$!
    fi
    ! grep -q 'Kernel panic' "$serial" || break
    ends=$(grep -a '^npr-end' "$serial" || true)
    lines=$(grep -c . <<<"$ends" || true)
    ((lines <= told)) || { tail -n +$((told + 1)) <<<"$ends" | tr -d '\r' | sed "s/npr-end \(.*\) \(.*\)/emulated_cpu.sh: \1 ended with \2 after $SECONDS s/" >&2; }
    told=$lines
    sleep 2
done
kill "$running" 2>/dev/null || true

# ---- what came of it
flags=$(sed -n 's/^npr-flags//p' "$serial" | tr -d '\r')
[[ -n $flags ]] || npr_die 70 "the emulated PC did not come up; see $serial and $work/bochs.log"
[[ " $flags " == *" avx512bw "* ]] || npr_die 78 "the emulated CPU, $cpu, has no AVX-512: $flags"
bf16=0
[[ " $flags " != *" avx512_bf16 "* ]] || bf16=1
failed=0
for name in "${names[@]}"; do
    said=$(tr -d '\r' <"$serial" | sed -n "/^npr-begin $name\$/,/^npr-end $name /p")
    code=$(sed -n "s/^npr-end $name //p" <<<"$said")
    met=$(sed -n 's/^kernel //p; s/^screen //p' <<<"$said" | paste -sd ',' | sed 's/,/, /g')
    verdict=passed
    [[ $code == 0 ]] || verdict="FAILED (${code:-not done})"
    want=${wanted[$name]}
    ((!bf16)) || want=${wanted_bf16[$name]:-$want}
    ((!amx)) || want=${wanted_amx[$name]:-$want}
    while read -r line; do
        [[ -z $line ]] || grep -qxF -- "$line" <<<"$said" || verdict="FAILED (no $line)"
    done < <(tr ',' '\n' <<<"$want")
    echo "$name: $verdict; met: ${met:-nothing}"
    [[ $verdict == passed ]] || failed=1
done
((!failed)) || npr_die 1 "what the tests said is in $serial"
